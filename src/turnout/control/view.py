"""A job as the API shows it."""

from turnout.control.store import JobState
from turnout.messages import JobStatus, Message


class JobView(Message, frozen=True):
    """What control knows of a job. Times are seconds since 1970.

    ``fresh``: the job has just said ``status`` itself, or has ended; else ``status`` is the last one known.
    """

    job_id: str
    name: str
    state: JobState
    submitted_at: float
    finished_at: float | None = None
    reason: str = ""
    status: JobStatus | None = None
    fresh: bool = False
