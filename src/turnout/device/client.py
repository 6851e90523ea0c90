"""One device over HTTP: the shell around a session."""

import asyncio
import logging
import random
from dataclasses import dataclass
from pathlib import Path

from turnout import __version__
from turnout.device.blobs import BlobCache, BlobUnavailable
from turnout.device.exchange import NoAnswer, from_http, to_http
from turnout.device.http import DEFAULT_LIMITS, HttpClient, HttpLimits, trust
from turnout.device.http_connection import HttpFailure
from turnout.device.kept import KeptFile
from turnout.device.session import (
    ACCEPT,
    ACCEPT_ALL,
    DEFAULT_POLICY,
    Ended,
    SatOut,
    Send,
    Session,
    SessionCounters,
    SessionPolicy,
    Sleep,
    Train,
    TrainedUpdate,
    TrainingFailed,
)
from turnout.device.trainers.base import Evaluator, NoExamples, Trainer
from turnout.device.training import work_of
from turnout.errors import TurnoutError
from turnout.messages import DeviceInfo, EdgeRequest, ModelSchema, ResultReport, Status, TaskResponse
from turnout.text.given import check_job_name
from turnout.wire.edge_headers import BadHeader, DeviceReader

log = logging.getLogger(__name__)

PLATFORM = "python"


class DeviceClient:
    """Plays one session: sends, trains (in a thread), waits. Connections and models may be shared with others."""

    def __init__(
        self, session: Session, trainer: Trainer, http: HttpClient, blobs: BlobCache, kept: KeptFile | None = None
    ) -> None:
        """``kept``: where a result survives this process while nobody has acknowledged it."""
        self.session = session
        self._trainer = trainer
        self._http = http
        self._blobs = blobs
        self._schema: ModelSchema | None = None
        self._kept = kept
        self._in_file: ResultReport | None = None
        self._stopped = asyncio.Event()

    async def run(self) -> str:
        """Continue until the session ends; returns why."""
        now = asyncio.get_running_loop().time
        await self._restore(now())
        while True:
            action = self.session.next(now())
            await self._keep(now())
            match action:
                case Send(request):
                    await self._ask(request)
                case Train(task):
                    outcome = await self._train(task)
                    self.session.trained(outcome, now())
                case Sleep(until):
                    await self._sleep(until - now())
                case Ended(reason):
                    return reason

    def stop(self) -> None:
        """Take no more tasks; ``run`` returns once the present one is reported."""
        self.session.stop()
        self._stopped.set()

    async def _restore(self, now: float) -> None:
        """Begin with the result that an earlier process left, if there is one."""
        found = await asyncio.to_thread(self._kept.read) if self._kept is not None else None
        if found is not None:
            self.session.restore(found.saved, now)
            self._schema = found.schema
            self._in_file = self.session.unacknowledged

    async def _keep(self, now: float) -> None:
        """Have in the file what nobody has acknowledged, before it is sent for the first time."""
        report = self.session.unacknowledged
        if self._kept is None or report is self._in_file:
            return
        saved = self.session.saved(now)
        if saved is not None and saved.report.status == Status.OK:
            assert self._schema is not None, "a result was trained from a model"
            await asyncio.to_thread(self._kept.write, saved, self._schema)
        else:
            await asyncio.to_thread(self._kept.remove)
        self._in_file = report

    async def _ask(self, request: EdgeRequest) -> None:
        now = asyncio.get_running_loop().time
        try:
            answer = from_http(request, await self._http.request(to_http(request, self._schema)))
        except HttpFailure as failure:
            log.info("%s: %s", request.device.device_id, failure)
            self.session.failed(failure.reason, now())
            return
        if isinstance(answer, NoAnswer):
            self.session.failed(answer.reason, now(), answer.retry_wait)
        else:
            self.session.received(answer, now())

    async def _train(self, task: TaskResponse) -> TrainedUpdate | TrainingFailed | SatOut:
        assert task.job_id
        assert task.task_data
        try:
            model = await self._blobs.get(task.job_id, task.task_data)
        except BlobUnavailable as error:
            log.info("%s: %s", self.session.device.device_id, error)
            return TrainingFailed("no model", again=True)
        try:
            update, self._schema = await asyncio.to_thread(
                work_of(task.task_name), self._trainer, model, task.task_data.meta
            )
        except NoExamples as error:
            log.info("%s: %s", self.session.device.device_id, error)
            return SatOut()
        except TurnoutError as error:
            log.warning("%s: %s", self.session.device.device_id, error)
            return TrainingFailed(str(error))
        except Exception as error:  # a trainer is its user's code: its failure is this one task's
            log.exception("%s: training failed", self.session.device.device_id)
            return TrainingFailed(f"{type(error).__name__}: {error}")
        return update

    async def _sleep(self, seconds: float) -> None:
        """Wait, but not after ``stop`` unless there is still a result to send."""
        if self._stopped.is_set():
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass


@dataclass(frozen=True, slots=True)
class Finished:
    """How a device ended, and what it did."""

    reason: str
    counters: SessionCounters


async def run_device(
    url: str,
    job_name: str,
    trainer: Trainer,
    *,
    device_id: str,
    policy: SessionPolicy = DEFAULT_POLICY,
    limits: HttpLimits = DEFAULT_LIMITS,
    keep: Path | None = None,
    ca: Path | None = None,
) -> Finished:
    """Take part in the job of this name as one device, until the job is done.

    ``device_id`` should stay the same over the device's life. ``keep`` is a file of this device alone, in which a
    result without an answer survives the process: the next one sends it again first. ``ca``: a PEM file of the
    authorities that an https server must have its certificate from, instead of those that the system trusts.
    Raises TurnoutError for a URL, a name or an id that is none, and for a file that is another device's.
    """
    if DeviceReader().device(device_id.encode(), None).device_id != device_id:
        raise BadHeader(f"device_id {device_id!r} has spaces or line ends around it; give it without them")
    check_job_name(job_name)
    kept = KeptFile(keep, device_id) if keep is not None else None
    http = HttpClient(url, limits, trust(ca) if ca is not None else None)
    blobs = BlobCache(http)
    device = DeviceInfo(device_id, app_name="turnout", app_version=__version__, platform=PLATFORM)
    accept = ACCEPT_ALL if isinstance(trainer, Evaluator) else ACCEPT
    session = Session(device, job_name, random.Random(), policy, accept=accept)
    try:
        reason = await DeviceClient(session, trainer, http, blobs, kept).run()
    finally:
        await blobs.close()
        await http.close()
    return Finished(reason, session.counters)
