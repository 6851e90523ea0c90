"""An evaluation that fails is a state of the job, for as long as it does; afterwards it is a warning."""

from tests.unit.job.a_job import Job, new_job
from turnout.job.core.events import Evaluated
from turnout.job.core.status import status_of
from turnout.job.workflow.buffered import Buffered
from turnout.messages import FailingEvaluation, JobStatus

ERROR = "KeyError: 'accuracy'"


def a_job_that_measures() -> Job:
    job = new_job(lambda: Buffered(concurrency=4, goal=1, staleness_max=4))
    job.core.parts.evaluation.every = 1
    return job


def version(job: Job, device: str, metrics: dict[str, float] | None, error: str = ERROR) -> None:
    """Make one, and measure it."""
    job.report(device, job.ask(device))
    job.commit()
    job.happens(Evaluated(job.core.version, metrics, "" if metrics is not None else error))


def status(job: Job) -> JobStatus:
    return status_of(job.core, job.now)


def test_it_says_since_which_version_how_often_and_why() -> None:
    job = a_job_that_measures()
    version(job, "a", {"accuracy": 0.5})
    version(job, "b", None)
    assert status(job).warnings == (f"evaluation fails since version 2: {ERROR}",)
    version(job, "c", None)
    version(job, "d", None, "MemoryError")
    now = status(job)
    assert now.evaluation_fails == FailingEvaluation(since=2, last=4, times=3, error="MemoryError")
    assert now.warnings == ("evaluation fails since version 2 (3 times): MemoryError",)
    assert (now.metrics, now.metrics_version, now.version) == ({"accuracy": 0.5}, 1, 4)
    assert now.state == "OPEN"


def test_once_it_works_again_what_failed_is_a_warning() -> None:
    job = a_job_that_measures()
    version(job, "a", None)
    version(job, "b", {"accuracy": 0.5})
    assert status(job).evaluation_fails is None
    assert status(job).warnings == (f"evaluation of version 1 failed: {ERROR}",)
    version(job, "c", None)
    version(job, "d", None)
    version(job, "e", {"accuracy": 0.6})
    assert status(job).warnings[-1] == f"evaluation of 2 versions failed, 3 to 4: {ERROR}"


def test_a_restart_forgets_neither_that_it_fails_nor_any_warning() -> None:
    job = a_job_that_measures()
    job.core.warnings.add("the disk is slow")
    job.core.warnings.told(at=7.0)
    version(job, "a", None)
    version(job, "b", None)
    version(job, "c", None)
    job.report("d", job.ask("d"))
    job.commit()
    again = status(job.restart())
    assert again.warnings == ("the disk is slow", f"evaluation fails since version 1 (3 times): {ERROR}")
    assert (again.warned[0].first_at, again.warned[0].last_at) == (7.0, 7.0)
