"""What a thief of the job's key can seal: nothing that was not given out, and no number that ends the process."""

import math

import pytest

from tests.unit.job.a_job import KEY, LEASE_S, Job, new_job
from turnout.job.places.leases import Lease, Seal, device_hash
from turnout.job.workflow.buffered import Buffered
from turnout.messages import ResultResponse, Status, TaskResponse


@pytest.fixture
def job() -> Job:
    """At version 1, which two devices made."""
    made = new_job(lambda: Buffered(concurrency=4, goal=2, staleness_max=3))
    for device in ("a", "b"):
        made.report(device, made.ask(device))
    made.settle()
    return made


def sent(job: Job, lease: Lease) -> ResultResponse:
    """What is said to a result of ``lease``, sealed with the job's own key."""
    task = TaskResponse(Status.OK, task_id=Seal("job-1", KEY).close(lease))
    answer = job.report("thief", task)
    job.settle()
    told = answer()
    assert told is not None
    return told


def lease(job: Job, **changes: object) -> Lease:
    """As the job would have sealed one, of a task of the present version, but for ``changes``."""
    fields = {
        "version": job.core.version,
        "task": job.core.parts.places.next_task - 1,
        "device": device_hash("thief"),
        "weight_max": 10.0,
        "granted_at": job.now,
        "expires_at": job.now + LEASE_S,
        **changes,
    }
    return Lease(**fields)  # type: ignore[arg-type]


def test_a_task_that_was_given_out_is_counted(job: Job) -> None:
    """The control: the leases below differ from this one in nothing but what they change."""
    job.ask("thief")
    assert sent(job, lease(job)).counted


@pytest.mark.parametrize("task", [2**62, 2**63, 2**64 - 1, 10_000_000])
@pytest.mark.parametrize("version", [0, 1, 2, 2**32 - 1])
def test_a_number_that_was_never_given_out_is_refused_and_ends_nothing(job: Job, version: int, task: int) -> None:
    before = job.core.counted.save()
    assert not sent(job, lease(job, version=version, task=task)).counted
    assert job.core.counted.save() == before
    assert job.ask("honest").task_id, "the job goes on"


def test_a_task_of_an_earlier_version_is_none_of_this_one(job: Job) -> None:
    job.ask("honest")
    assert sent(job, lease(job, task=0)).message == "no task like this was ever given out; " + (
        "ask for a task and echo its task_id unchanged"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_max": 10.5},
        {"weight_max": 0.0},
        {"weight_max": math.nan},
        {"weight_max": math.inf},
        {"expires_at": 1e9},
        {"expires_at": -1.0},
        {"expires_at": math.nan},
        {"expires_at": math.inf},
        {"granted_at": -1e9},
        {"granted_at": math.nan},
        {"granted_at": 1e9, "expires_at": 1e9 + 1},
    ],
)
def test_what_this_job_cannot_have_sealed_is_refused(job: Job, changes: dict[str, float]) -> None:
    """Though the task was given out: the cap of weights is 10, and no lease lasts longer than 1000 s."""
    job.ask("thief")
    told = sent(job, lease(job, **changes))
    assert (told.counted, told.status) == (False, Status.NO_TASK)
    assert job.core.tally.counted == 2


def test_equal_results_sent_at_once_are_told_that_the_result_is_being_saved(job: Job) -> None:
    """Two wait for the commit, the others are answered at once; then all are counted, once."""
    task = job.ask("a")
    answers = [job.report("a", task) for _ in range(8)]
    told = [answer() for answer in answers]
    early = [each for each in told if each is not None]
    assert len(early) == 6
    assert {(each.status, each.counted, each.message) for each in early} == {
        (Status.RETRY, False, "the result is being saved; send it again to hear that it is counted")
    }
    job.settle()
    assert sum(answer() is not None and answer().counted for answer in answers) == 2  # type: ignore[union-attr]
    again = job.report("a", task)()
    assert again is not None
    assert again.duplicate
    assert job.core.tally.counted == 3
