"""Brings every request of a device to the running job that must answer it: between gateway and transport.

Nothing here waits and nothing is kept per device: a request leaves ``submit`` as a ticket in ``pending``, and whatever
settles the ticket first, a reply, a lost connection or a deadline, answers the device.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

import msgspec

from turnout.dispatcher.pending import DispatcherLimits, Pending
from turnout.dispatcher.refusals import Refusals
from turnout.dispatcher.returns import Returns
from turnout.dispatcher.room import Room
from turnout.dispatcher.table import JobTable
from turnout.errors import ServerError
from turnout.messages import (
    OK,
    EdgeRequest,
    EdgeResponse,
    FeedEvent,
    JobRequest,
    JobResponse,
    ModelSchema,
    RefusedResult,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    SelectionResponse,
    Status,
    TaskRequest,
    TaskResponse,
    Topic,
)
from turnout.transport.base import Transport
from turnout.wire.frames import PAYLOAD_BYTES_MAX

logger = logging.getLogger(__name__)

# How long a device shall wait at least when we answer RETRY in a job's place. Each wait is drawn from once to twice the
# value, and longer where many are told to wait: see returns.py.
RETRY_DOWN_S: Final = 2.0  #: The job's process does not answer yet, or not any more; a restart takes about this long.
RETRY_BUSY_S: Final = 2.0  #: Too much is in flight to the job.
RETRY_SLOW_S: Final = 5.0  #: The job did not answer in time.
RETRY_FAILED_S: Final = 5.0  #: The job could not handle this request.

ForwardedRequest: TypeAlias = TaskRequest | SelectionRequest | ResultReport | ResultOffer
Answer: TypeAlias = Callable[[EdgeResponse], None]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a kind of request travels, and the class of its answers."""

    topic: Topic
    response: type[TaskResponse] | type[SelectionResponse] | type[ResultResponse]
    decode: Callable[[bytes | memoryview], EdgeResponse]


_KINDS: Final[dict[type[ForwardedRequest], _Kind]] = {
    TaskRequest: _Kind(Topic.TASK, TaskResponse, msgspec.msgpack.Decoder(TaskResponse).decode),
    SelectionRequest: _Kind(Topic.SELECTION, SelectionResponse, msgspec.msgpack.Decoder(SelectionResponse).decode),
    ResultReport: _Kind(Topic.RESULT, ResultResponse, msgspec.msgpack.Decoder(ResultResponse).decode),
    ResultOffer: _Kind(Topic.OFFER, ResultResponse, msgspec.msgpack.Decoder(ResultResponse).decode),
}


#: What is kept of a request in flight, a plain tuple for speed: how to answer, its kind, job, task id and task name.
#: Not its update, which may be large.
_InFlight: TypeAlias = tuple[Answer, _Kind, str, str | None, str | None]


def _refuse(asked: _InFlight, status: Status, message: str, retry_wait: float | None = None) -> None:
    """Answer in the job's place; nothing that the dispatcher answers itself is counted."""
    answer, kind, _, task_id, task_name = asked
    if issubclass(kind.response, ResultResponse):
        answer(kind.response(status, False, task_id, task_name, message, retry_wait))
    else:
        answer(kind.response(status, message=message, retry_wait=retry_wait))


class EdgeTaskDispatcher:
    """The table of running jobs, the book of requests in flight and the transport, put together.

    ``clock`` and the ``now`` of ``tick`` are one clock, which never goes back. All calls come from one event loop.
    """

    def __init__(
        self,
        table: JobTable,
        transport: Transport,
        clock: Callable[[], float],
        rng: Random,
        limits: DispatcherLimits | None = None,
    ) -> None:
        self._table = table
        self._jobs = table.jobs
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._limits = limits or DispatcherLimits()
        self._returns = Returns(self._limits.returns_per_s, self._limits.return_max_s, rng)
        self.room = Room(self._limits.results_bytes_max, self._limits.job_results_share_max)
        self._pending: Pending[_InFlight] = Pending(self._limits, self.room)
        self._refusals = Refusals()
        self._ticket = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._opened: set[str] = set()  # jobs the transport was told of
        self._leaving: set[str] = set()  # of these, jobs that ended while something was in flight to them
        self._connected: set[str] = set()
        self._schemas: dict[str, ModelSchema] = {}
        # What devices are told of a job, by platform where that matters and "" for all others; until the table changes.
        self._listed: dict[str, dict[str, JobResponse]] = {}
        transport.attach(self)

    # --- what devices ask ---------------------------------------------------------------------------------------

    def submit(self, request: EdgeRequest, answer: Answer, has_room: bool = False) -> None:
        """Bring a request to its job; ``answer`` is called exactly once, perhaps before this returns.

        ``has_room``: there is room for this result, or it is reserved. It is counted by itself from here on, so release
        what is reserved.
        """
        if isinstance(request, JobRequest):
            answer(self._listing(request))
            return
        kind, job_id = _KINDS[type(request)], request.job_id
        asked: _InFlight
        if isinstance(request, ResultReport):
            asked = (answer, kind, job_id, request.task_id, request.task_name)
        elif isinstance(request, ResultOffer):
            asked = (answer, kind, job_id, request.task_id, None)
        else:
            asked = (answer, kind, job_id, None, None)
        if job_id not in self._connected or job_id not in self._jobs:
            self._refuse_unconnected(asked)
            return
        try:
            payload = self._encoder.encode(request)
        except (OverflowError, RecursionError) as error:  # a device may write any number, at any depth, in its cookie
            _refuse(asked, Status.INVALID_REQUEST, f"the request cannot be passed on: {error}")
            return
        if len(payload) > PAYLOAD_BYTES_MAX:
            _refuse(asked, Status.ERROR, f"the request has {len(payload)} bytes, allowed are {PAYLOAD_BYTES_MAX}")
            return
        self._ticket = ticket = self._ticket + 1
        if not self._pending.add(ticket, job_id, kind.topic, len(payload), asked, self._clock(), has_room):
            self._retry(asked, RETRY_BUSY_S, "too many requests are in flight")
        elif not self._transport.send(job_id, ticket, kind.topic, payload):
            self._pending.settle(ticket)
            self._retry(asked, RETRY_BUSY_S, "the job is overloaded")

    def schema(self, job_id: str) -> ModelSchema | None:
        """The schema of a running job's model; None until its process has answered once."""
        return self._schemas.get(job_id) if job_id in self._jobs else None

    def refused(self, result: RefusedResult) -> None:
        """The gateway has refused a result of this job: tell the job."""
        if result.job_id in self._jobs:
            self._refusals.tell(result, self._tell_refused)

    # --- what control says --------------------------------------------------------------------------------------

    def apply(self, event: FeedEvent) -> None:
        """Follow the life cycle of jobs. What makes no sense is logged and changes nothing."""
        complaint = self._table.apply(event)
        if complaint:
            logger.error(complaint)
        self._listed.clear()
        for job in self._table:
            self._leaving.discard(job.job_id)
            if job.address:
                self._opened.add(job.job_id)
                try:
                    self._transport.open(job)
                except ServerError as error:
                    logger.error('job "%s" cannot be reached: %s', job.job_id, error)
        for job_id in [job_id for job_id in self._opened if job_id not in self._jobs]:
            self._leave(job_id)
        self._returns.forget_unless(lambda job_id: job_id in self._jobs)
        self._refusals.forget_unless(lambda job_id: job_id in self._jobs)

    def tick(self, now: float) -> None:
        """Answer what has waited too long, tell jobs what was refused, let go of those that ended.

        Call it every 50 ms or so.
        """
        for asked in self._pending.expire(now):
            self._retry(asked, RETRY_SLOW_S, "the job did not answer in time")
        for job_id in list(self._leaving):
            self._leave(job_id)
        self._refusals.tick(self._tell_refused)

    # --- Inbox: what jobs answer --------------------------------------------------------------------------------

    def connected(self, job_id: str, incarnation: int, schema: ModelSchema) -> None:
        """The job's process answers."""
        logger.info('job "%s" answers, incarnation %d', job_id, incarnation)
        self._connected.add(job_id)
        self._schemas[job_id] = schema

    def replied(self, ticket: int, payload: bytes | memoryview) -> None:
        """Pass on a job's answer, unless its time was over."""
        asked = self._pending.settle(ticket)
        if asked is None:
            return
        answer, kind, job_id, _, _ = asked
        try:
            response = kind.decode(payload)
        except msgspec.DecodeError as error:
            logger.error('job "%s" answered %s with something else: %s', job_id, kind.topic, error)
            self._retry(asked, RETRY_FAILED_S, "the job could not handle this request")
        else:
            answer(response)

    def failed(self, ticket: int, reason: str) -> None:
        """The job could not handle one request."""
        asked = self._pending.settle(ticket)
        if asked is None:
            return
        _, kind, job_id, _, _ = asked
        logger.warning('job "%s" failed to handle %s: %s', job_id, kind.topic, reason)
        self._retry(asked, RETRY_FAILED_S, "the job could not handle this request")

    def lost(self, job_id: str, reason: str) -> None:
        """The connection to a job is gone, and with it everything that was in flight."""
        logger.info('job "%s": %s', job_id, reason)
        self._connected.discard(job_id)
        for asked in self._pending.lose(job_id):
            self._retry(asked, RETRY_DOWN_S, "the connection to the job was lost")
        if job_id in self._leaving:
            self._leave(job_id)

    # --- within -------------------------------------------------------------------------------------------------

    def _listing(self, request: JobRequest) -> JobResponse:
        if not request.job_name:
            return JobResponse(Status.INVALID_REQUEST, message="job_name is missing")
        job = self._table.match(request, self._rng)
        if job is None:
            return JobResponse(Status.NO_JOB, message=f'no running job named "{request.job_name}" takes this device')
        listed = self._listed.get(job.job_id)
        if listed is None:
            listed = self._listed[job.job_id] = {
                platform: JobResponse(OK, job.job_id, job.name, job_data={"config": config})
                for platform, config in {"": job.device_config, **job.device_configs}.items()
            }
        return listed.get(request.device.platform.lower()) or listed[""]

    def _refuse_unconnected(self, asked: _InFlight) -> None:
        """No job can take this, or not now."""
        job_id = asked[2]
        if not job_id:
            _refuse(asked, Status.INVALID_REQUEST, "job_id is missing: ask POST /job for one")
        elif job_id not in self._jobs:
            _refuse(asked, Status.NO_JOB, f'job "{job_id}" is not running')
        else:
            self._retry(asked, RETRY_DOWN_S, "the job is starting or restarting")

    def _retry(self, asked: _InFlight, wait_s: float, message: str) -> None:
        _, kind, job_id, _, _ = asked
        of_result = kind.topic is Topic.RESULT or kind.topic is Topic.OFFER
        _refuse(asked, Status.RETRY, message, self._returns.wait(job_id, of_result, wait_s, self._clock()))

    def _tell_refused(self, job_id: str, payload: bytes) -> bool:
        """Nobody waits for the answer."""
        self._ticket += 1
        return job_id in self._connected and self._transport.send(job_id, self._ticket, Topic.REFUSED, payload)

    def _leave(self, job_id: str) -> None:
        """Close the connection to an ended job once its last answers are in; its deadlines bound that."""
        if job_id in self._connected and self._pending.count(job_id):
            self._leaving.add(job_id)
            return
        self._leaving.discard(job_id)
        self._opened.discard(job_id)
        self._schemas.pop(job_id, None)
        self._connected.discard(job_id)
        self._transport.close(job_id)
