"""What a kill interrupted is told by the job's recorder, and the next aim is at what was hit too seldom."""

from random import Random

import pytest

from tests.chaos.killer import CLASSES, Aim, Interrupted, Kill, Role, interrupted_by
from turnout.job.journal.recorder import Moment, Phase


@pytest.mark.parametrize(
    ("phase", "closing", "staged", "expected"),
    [
        (Phase.RECOVERY, False, 0, Interrupted.RECOVERY),
        (Phase.OPEN, False, 3, Interrupted.STAGED),
        (Phase.OPEN, False, 0, Interrupted.IDLE),
        (Phase.COMMITTING, False, 3, Interrupted.COMMITTING),
        (Phase.COMMITTING, False, 0, Interrupted.IDLE),
        (Phase.COMMITTING, True, 0, Interrupted.CLOSING),
        (Phase.COMMITTED, False, 3, Interrupted.COMMITTED),
        (Phase.COMMITTED, True, 3, Interrupted.COMMITTED),
        (Phase.COMMITTED, False, 0, Interrupted.IDLE),
        (Phase.ENDED, False, 0, Interrupted.ENDED),
    ],
)
def test_what_was_interrupted_is_what_the_recorder_says(
    phase: Phase, closing: bool, staged: int, expected: Interrupted
) -> None:
    assert interrupted_by(Moment(phase, closing, staged, 5, 2), opened=True) is expected


def test_what_the_process_before_said_does_not_count() -> None:
    assert interrupted_by(Moment(Phase.RECOVERY, False, 0, 5, 2), opened=False) is Interrupted.STARTING
    assert interrupted_by(None, opened=True) is Interrupted.STARTING


def test_the_aim_is_at_what_is_missing() -> None:
    aim = Aim(Random(1), each_min=2)
    for each in CLASSES:
        if each is not Interrupted.COMMITTED:
            aim.note(Kill(Role.JOB, each, "") for _ in range(2))
    aim.note([Kill(Role.JOB, Interrupted.COMMITTED, "")])
    assert aim.missing() == {Interrupted.COMMITTED: 1}
    assert {aim.wanted() for _ in range(50)} == {None, Interrupted.COMMITTED}
    aim.note([Kill(Role.JOB, Interrupted.COMMITTED, "")])
    assert aim.missing() == {}
    assert {aim.wanted() for _ in range(200)} == {None, *CLASSES}


def test_all_roles_are_killed_and_jobs_most() -> None:
    aim = Aim(Random(1), each_min=1)
    roles = [aim.role() for _ in range(300)]
    assert set(roles) == set(Role)
    assert roles.count(Role.JOB) > 150
