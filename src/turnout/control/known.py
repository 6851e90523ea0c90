"""The jobs as control knows them: what is stored, and what each job says of itself when it is asked."""

import asyncio
import logging
from http import HTTPStatus

import msgspec
from starlette.requests import Request

from turnout.client.view import UNFINISHED, JobView
from turnout.control.jobs import Jobs
from turnout.control.problems import Problem
from turnout.control.questions import Questions
from turnout.control.store import Store, StoredJob
from turnout.errors import ServerError, TurnoutError
from turnout.messages import JobStatus, Topic

STATUS_TIMEOUT_S = 1.0
ORDER_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)


class KnownJobs:
    """Looks jobs up, and remembers what each said last."""

    def __init__(self, store: Store, jobs: Jobs, questions: Questions) -> None:
        self.store = store
        self.jobs = jobs
        self._questions = questions
        self._last_known: dict[str, JobStatus] = {}
        self._lost: set[str] = set()  # jobs that are over, of which neither a file nor the journal tells anything
        self._remaking = asyncio.Lock()
        self._answers: dict[str, bool] = {}  # whether it did, when it was asked last
        self._finals: dict[str, tuple[float | None, JobStatus]] = {}  # and when that job ended

    def of(self, request: Request) -> StoredJob:
        """The job that the path names. Raises Problem."""
        job_id = request.path_params["job_id"]
        job = self.store.get(job_id)
        if job is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"no job {job_id!r}; GET /api/jobs lists them")
        return self._with_delay(job)

    def newest(self, limit: int) -> list[StoredJob]:
        """The jobs submitted last, newest first."""
        return [self._with_delay(job) for job in self.store.jobs(limit)]

    def _with_delay(self, job: StoredJob) -> StoredJob:
        """The reason of a job that should run is why it cannot for now."""
        delay = self.jobs.delay(job.job_id)
        return msgspec.structs.replace(job, reason=delay) if delay else job

    def ended(self, request: Request) -> StoredJob:
        """The job that the path names, which must be over. Raises Problem."""
        job = self.of(request)
        if job.state in UNFINISHED:
            raise Problem(HTTPStatus.CONFLICT, f"job {job.job_id} is {job.state}: turnout cancel {job.job_id} ends it")
        return job

    def runs(self, job_id: str) -> bool:
        """Whether its process shall run."""
        return job_id in self.jobs.running

    def listed(self, job: StoredJob) -> JobView:
        """A job with what it said last, in short, for a list of many: none of them is asked for it."""
        if self.runs(job.job_id):
            status, fresh = self._last_known.get(job.job_id), self._answers.get(job.job_id, False)
        else:
            status, fresh = self._read_final(job), True
        return view(job, _in_short(status) if status is not None else None, fresh and status is not None)

    def _read_final(self, job: StoredJob) -> JobStatus | None:
        """The last account of a job that has ended, as far as its file is there; read once for each of its ends."""
        known = self._finals.get(job.job_id)
        if known is not None and known[0] == job.finished_at:
            return known[1]
        final = self.jobs.final(job.job_id)
        if final is not None:
            self._finals[job.job_id] = job.finished_at, final
        return final or self._last_known.get(job.job_id)

    async def status(self, job: StoredJob) -> tuple[JobStatus | None, bool]:
        """The job's own account, and whether it has just given it, or is over."""
        if not self.runs(job.job_id):
            return await self._final(job) or self._last_known.get(job.job_id), True
        self._lost.discard(job.job_id)
        status = await self.ask_status(job.job_id)
        return status or self._last_known.get(job.job_id), status is not None

    async def _final(self, job: StoredJob) -> JobStatus | None:
        """The last account of a job that is over; made anew from its journal when the file is lost."""
        async with self._remaking:
            final = self.jobs.final(job.job_id)
            if final is not None or job.job_id in self._lost:
                return final
            from turnout.job.remade import remake_final, write_final  # brings much with it, and is seldom needed

            directory = self.jobs.folder(job.job_id)
            try:
                final = await asyncio.to_thread(remake_final, directory, str(job.state), job.reason)
                if not self.runs(job.job_id):  # nobody has started it again meanwhile
                    write_final(directory, final)
            except (TurnoutError, OSError) as error:
                self._lost.add(job.job_id)
                logger.info("job %s has no last account, and none can be made: %s", job.job_id, error)
            return final

    async def ask_status(self, job_id: str) -> JobStatus | None:
        """What a running job says now; None when it does not answer."""
        try:
            answer = await self._questions.ask(job_id, Topic.STATUS, b"", STATUS_TIMEOUT_S)
            status = msgspec.msgpack.decode(answer, type=JobStatus)
        except (ServerError, msgspec.DecodeError, msgspec.ValidationError):
            self._answers[job_id] = False
            return None
        self._answers[job_id] = True
        self._last_known[job_id] = status
        return status

    async def tell(self, job_id: str, topic: Topic, payload: bytes = b"") -> None:
        """Have a running job do something. Raises ServerError when it does not answer."""
        await self._questions.ask(job_id, topic, payload, ORDER_TIMEOUT_S)

    def process(self, job_id: str) -> int:
        """Which of a job's processes, counted from 1, is the one that answers."""
        return self._questions.incarnation(job_id)

    def forget(self, job_id: str) -> None:
        """What a job said last is void: it was deleted, or continues from a backup."""
        self._lost.discard(job_id)
        for known in (self._last_known, self._answers, self._finals):
            known.pop(job_id, None)


def _in_short(status: JobStatus) -> JobStatus:
    """Without what is long and belongs to one job's page."""
    return msgspec.structs.replace(status, fleet=(), staleness={}, kept=(), warned=(), ack_ms={}, commit_ms={})


def view(job: StoredJob, status: JobStatus | None = None, fresh: bool = False) -> JobView:
    """A job as the API shows it."""
    return JobView(
        job_id=job.job_id,
        name=job.name,
        state=job.state,
        submitted_at=job.submitted_at,
        finished_at=job.finished_at,
        reason=job.reason,
        status=status,
        fresh=fresh,
        edge_method=str(job.announcement.meta.get("edge_method", "")),
    )
