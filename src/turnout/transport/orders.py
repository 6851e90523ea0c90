"""What control and the supervisor say to each other over the supervisor's socket."""

from turnout.messages import Message


class JobProcess(Message, frozen=True):
    """What it takes to start a job's process; paths are absolute."""

    job_id: str
    folder: str
    address: str
    blobs: str


class StartJob(Message, frozen=True, tag=True):
    """Keep this job's process running until it ends by itself. Nothing happens when it is known already."""

    job: JobProcess


class StopJob(Message, frozen=True, tag=True):
    """End the job's process, first kindly, and do not start it again."""

    job_id: str


class ForgetJob(Message, frozen=True, tag=True):
    """Control has written down how the job ended."""

    job_id: str


Order = StartJob | StopJob | ForgetJob


class JobReport(Message, frozen=True, tag=True):
    """How a job's process does. ``code`` is its last exit code once it is over for good: None while it is kept.

    ``reason`` says why it is over when the job itself could not; of a job that is kept, why it cannot run for now.
    """

    job_id: str
    code: int | None = None
    reason: str = ""


class Roster(Message, frozen=True, tag=True):
    """All jobs the supervisor knows; what control gets first whenever it connects."""

    jobs: tuple[JobReport, ...] = ()


Report = JobReport | Roster
