"""A server's API played by a class, for what needs no connection."""

from collections.abc import Iterator

from turnout.client.client import ControlClient, StreamedEvent
from turnout.client.view import History, JobState, JobView
from turnout.errors import NotFoundError
from turnout.messages import JobEvent, JobStatus


def view(job_id: str, name: str = "digits", state: JobState = JobState.RUNNING, **fields: object) -> JobView:
    return JobView(job_id, name, state, 1000.0, **fields)  # type: ignore[arg-type]


def status(version: int, **fields: object) -> JobStatus:
    return JobStatus("digits-1", "digits", "OPEN", "buffered", version=version, **fields)  # type: ignore[arg-type]


class FakeClient(ControlClient):
    """Knows these jobs, newest first. ``views`` are what it says of a job, one after the other."""

    def __init__(self, *jobs: JobView, views: tuple[JobView, ...] = (), events: tuple[StreamedEvent, ...] = ()) -> None:
        super().__init__("http://fake")
        self._jobs = list(jobs)
        self._views = list(views)
        self._events = events
        self.asked_after: list[str] = []
        self.log: list[list[str]] = []

    def jobs(self) -> list[JobView]:
        return self._jobs

    def job(self, job_id: str) -> JobView:
        if self._views:
            return self._views.pop(0)
        for job in self._jobs:
            if job.job_id == job_id:
                return job
        raise NotFoundError(f"no job {job_id!r}")

    def history(self, job_id: str) -> History:
        return History((JobEvent(1.0, "evaluated", version=1, metrics={"loss": 0.5}),), (), "7-0")

    def events(self, job_id: str, after: str = "") -> Iterator[StreamedEvent]:
        self.asked_after.append(after)
        yield from self._events

    def logs(self, job_id: str, lines: int) -> list[str]:
        return self.log.pop(0)[-lines:]
