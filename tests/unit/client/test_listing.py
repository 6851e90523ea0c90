"""The list of jobs, for people: each in one line, with the state that it is really in."""

import pytest

from tests.unit.cli.fakes import FakeClient, status, view
from turnout.client.listing import asked, state_of, table
from turnout.client.view import JobState
from turnout.messages import JobStatus, PausedBy


def paused(by: PausedBy) -> JobStatus:
    return JobStatus("digits-1", "digits", "PAUSED", "rounds", version=5, paused_by=by, waiting_for="a person")


def test_a_job_that_has_ended_is_listed_with_its_state_and_its_last_version() -> None:
    ended = view(
        "digits-1", state=JobState.CANCELLED, finished_at=1010.0, status=status(7), reason="cancelled by a person"
    )
    row = table(asked(FakeClient(ended)))[1].split("  ")
    assert [cell.strip() for cell in row if cell][:3] == ["digits-1", "digits", "cancelled"]
    assert [cell.strip() for cell in row if cell][-2:] == ["7", "cancelled by a person"]


def test_a_job_that_paused_itself_is_asked_and_listed_as_what_it_says_of_itself() -> None:
    said = view("digits-1", status=paused(PausedBy.ROUNDS), fresh=True)
    row = table(asked(FakeClient(view("digits-1"), views=(said,))))[1].split("  ")
    assert [cell.strip() for cell in row if cell][2] == "paused below quorum"
    assert [cell.strip() for cell in row if cell][-2:] == ["5", "a person"]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (PausedBy.PERSON, "paused by a person"),
        (PausedBy.ROUNDS, "paused below quorum"),
        (PausedBy.DIVERGENCE, "paused after divergence"),
    ],
)
def test_the_state_of_a_paused_job_says_who_paused_it(by: PausedBy, words: str) -> None:
    assert state_of(view("digits-1", status=paused(by))) == words


def test_a_job_that_a_person_ends_while_it_is_paused_is_cancelling() -> None:
    ending = view("digits-1", state=JobState.CANCELLING, status=status(7))
    assert state_of(ending) == "cancelling"
