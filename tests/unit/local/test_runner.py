"""When a run on this machine has nothing to wait for any more."""

import pytest

from tests.unit.cli.fakes import status, view
from turnout.device.counters import FleetCounters
from turnout.local.runner import stuck
from turnout.messages import PausedBy

WAITS = "a person to resume or cancel it: 0 of 2 updates for version 1 came in 4 deadlines"


@pytest.mark.parametrize("by", [PausedBy.ROUNDS, PausedBy.DIVERGENCE])
def test_a_job_that_paused_itself_is_not_waited_for(by: PausedBy) -> None:
    paused = view("digits-1", status=status(0, paused_by=by, waiting_for=WAITS))
    assert stuck(paused, None) == f"the job paused itself and waits for {WAITS}"
    failing = FleetCounters(devices=8, devices_failed=2, trainings_failed={"no data": 2})
    assert stuck(paused, failing) == f"the job paused itself and waits for {WAITS}; devices fail to train: no data"


def test_a_job_that_trains_or_that_a_person_paused_is_waited_for() -> None:
    assert stuck(view("digits-1"), None) == ""
    assert stuck(view("digits-1", status=status(0)), None) == ""
    assert stuck(view("digits-1", status=status(0, paused_by=PausedBy.PERSON)), None) == ""
