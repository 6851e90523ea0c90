"""The life of a job, from its submission to its end: what is stored, ordered from the supervisor, and told to gateways.

No waiting and no I/O but the store's: orders and events go out through the functions given.
"""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from turnout.client.view import UNFINISHED, JobState
from turnout.control.store import Store, StoredJob
from turnout.job.exits import EXIT_CANCELLED, EXIT_COMPLETED, EXIT_FAILED
from turnout.job.folder.directory import FINAL
from turnout.messages import JobCancelled, JobCompleted, JobFailed, JobLaunched, JobStatus, LifeCycleEvent, RunningJob
from turnout.transport.orders import ForgetJob, JobProcess, JobReport, Order, Report, Roster, StartJob, StopJob
from turnout.transport.socket_folder import job_address

SLUG_MAX = 24
CANCELLED = "cancelled by a person"  #: The reason of a job that gives none itself.
_CODES = {str(JobState.COMPLETED): EXIT_COMPLETED, str(JobState.CANCELLED): EXIT_CANCELLED}  # by a last account


class Jobs:
    """All jobs of one data folder; ``running`` is what gateways list for devices."""

    def __init__(
        self,
        store: Store,
        data: Path,
        runtime: Path,
        order: Callable[[Order], None],
        publish: Callable[[LifeCycleEvent], None],
        wall_clock: Callable[[], float],
    ) -> None:
        """``data`` is the data folder and ``runtime`` the folder of sockets; both absolute."""
        self._store = store
        self._data = data
        self._runtime = runtime
        self._order = order
        self._publish = publish
        self._now = wall_clock
        self._delays: dict[str, str] = {}
        self._forced: dict[str, str] = {}  # why
        self.running = {job.job_id: self._placed(job.announcement) for job in store.unfinished()}

    def folder(self, job_id: str) -> Path:
        """All that is kept of a job: its ``folder`` as submitted, its ``blobs``, and ``final.json`` once it ended."""
        return self._data / "jobs" / job_id

    def launch(self, announcement: RunningJob) -> RunningJob:
        """Store and start a job whose folder is in its place."""
        self._store.add(announcement, self._now())
        job = self.running[announcement.job_id] = self._placed(announcement)
        self._order(StartJob(self._process(job.job_id)))
        self._publish(JobLaunched(job))
        return job

    def start(self, job: StoredJob) -> None:
        """Start a job again that was cancelled or has failed; it continues from its journal. Raises OSError."""
        (self.folder(job.job_id) / FINAL).unlink(missing_ok=True)
        self.revive(job)

    def delay(self, job_id: str) -> str:
        """Why a job that should run cannot for now; empty when it can."""
        return self._delays.get(job_id, "")

    def revive(self, job: StoredJob) -> None:
        """Start a job again that has ended, with what is in its directory now."""
        self._store.revive(job.job_id)
        running = self.running[job.job_id] = self._placed(job.announcement)
        self._order(StartJob(self._process(job.job_id)))
        self._publish(JobLaunched(running))

    def cancel(self, job_id: str) -> None:
        """Note that a person cancels the job; it has ended when its process has."""
        self._store.cancelling(job_id)

    def cancelling(self) -> list[str]:
        """The jobs that a person has cancelled and whose process has not ended."""
        return [job.job_id for job in self._store.unfinished() if job.state is JobState.CANCELLING]

    def force(self, job_id: str, reason: str) -> None:
        """End the process of a cancelled job that does not end by itself; ``reason`` is kept as the job's."""
        if job_id in self.running:
            self._forced[job_id] = reason
            self._order(StopJob(job_id))

    def heard(self, report: Report) -> None:
        """Take in what the supervisor says: one job's end, or all it knows, which is then made to match the store."""
        match report:
            case JobReport():
                self._heard_of(report)
            case Roster():
                for known in report.jobs:
                    self._heard_of(known)
                missing = self.running.keys() - {known.job_id for known in report.jobs}
                for job in self._store.unfinished():
                    if job.job_id in missing:
                        self._recover(job)

    def final(self, job_id: str) -> JobStatus | None:
        """A job's last account of itself, which it writes when it ends."""
        try:
            return msgspec.json.decode((self.folder(job_id) / FINAL).read_bytes(), type=JobStatus)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return None

    def _heard_of(self, report: JobReport) -> None:
        job = self._store.get(report.job_id)
        if report.code is not None:
            if job is not None and job.state in UNFINISHED:
                self._finish(job, report.code, report.reason)
            self._order(ForgetJob(report.job_id))
        elif job is None or job.state not in UNFINISHED:
            self._order(StopJob(report.job_id))
        else:
            self._delays[report.job_id] = report.reason

    def _recover(self, job: StoredJob) -> None:
        """A job that should run and does not: it ended unheard, or the whole server was restarted.

        One that is to be ended has to run for that: devices that are training may still report to it.
        """
        final = self.final(job.job_id)
        if final is not None:
            self._finish(job, _CODES.get(final.state, EXIT_FAILED), "")
        else:
            self._order(StartJob(self._process(job.job_id)))

    def _finish(self, job: StoredJob, code: int, reason: str) -> None:
        final = self.final(job.job_id)
        said = final.finished if final is not None else self._forced.get(job.job_id, reason)
        event: LifeCycleEvent
        if code == EXIT_COMPLETED and final is not None:
            state, event = JobState.COMPLETED, JobCompleted(job.job_id)
        elif job.state is JobState.CANCELLING or code == EXIT_CANCELLED:
            state, event = JobState.CANCELLED, JobCancelled(job.job_id)
            said = said or CANCELLED
        else:
            said = reason or said or "its process ended without saying why"
            state, event = JobState.FAILED, JobFailed(job.job_id, said)
        self._store.finish(job.job_id, state, said, self._now())
        self.running.pop(job.job_id, None)
        self._delays.pop(job.job_id, None)
        self._forced.pop(job.job_id, None)
        self._publish(event)

    def _placed(self, announcement: RunningJob) -> RunningJob:
        process = self._process(announcement.job_id)
        return msgspec.structs.replace(announcement, address=process.address, blobs=process.blobs)

    def _process(self, job_id: str) -> JobProcess:
        folder = self.folder(job_id)
        address = job_address(self._runtime, job_id)
        return JobProcess(job_id, str(folder / "folder"), str(address), str(folder / "blobs"))


def new_job_id(name: str, chance: str) -> str:
    """An id that people can read: the job's name as far as it fits a file name, and ``chance`` to make it unique."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:SLUG_MAX].strip("-") or "job"
    return f"{slug}-{chance}"
