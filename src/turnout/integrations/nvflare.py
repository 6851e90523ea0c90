"""NVIDIA FLARE's edge task dispatcher with our table and bounds: a widget for the ``resources.json`` of a FLARE client.

It runs inside FLARE's client process, between FLARE's own service for devices (``ApiService``) and FLARE's job
processes, in place of ``nvflare.edge.widgets.etd.EdgeTaskDispatcher``. Events, context keys, channel, topics and
replies are FLARE's, and so are the names of handlers and of what a subclass may use; docs/FLARE.md says what is better.
FLARE calls it from many threads at once.
"""

import json
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from turnout.dispatcher.table import JobTable
from turnout.integrations.silence import SILENCE_S, Silence
from turnout.messages import DeviceInfo, JobCompleted, JobLaunched, JobRequest, RunningJob, TableSnapshot
from turnout.wire.edge_headers import ANDROID

try:
    from nvflare.apis.event_type import EventType
    from nvflare.apis.fl_constant import FLContextKey
    from nvflare.apis.fl_context import FLContext
    from nvflare.apis.job_def import JobMetaKey
    from nvflare.edge.constants import (
        EdgeApiStatus,
        EdgeConfigFile,
        EdgeContextKey,
        EdgeEventType,
        EdgeMsgTopic,
        JobDataKey,
    )
    from nvflare.edge.web.models.job_response import JobResponse
    from nvflare.edge.web.models.result_response import ResultResponse
    from nvflare.edge.web.models.selection_response import SelectionResponse
    from nvflare.edge.web.models.task_response import TaskResponse
    from nvflare.fuel.f3.cellnet.defs import CellChannel, MessageHeaderKey, ReturnCode
    from nvflare.fuel.f3.cellnet.utils import new_cell_message
    from nvflare.fuel.f3.message import Message
    from nvflare.widgets.widget import Widget
except ImportError as error:
    raise ImportError(
        "turnout.integrations.nvflare runs inside NVIDIA FLARE, of which this Python lacks a part: "
        f'pip install "nvflare>=2.7" beside turnout ({error})'
    ) from error

_NO_DEVICE = DeviceInfo("")  # a FLARE job declares no eligibility, so it matters to no match which device asks

MAX_WORKERS = 100  #: The threads of FLARE's ``ApiService`` unless it is told another number.
RETRY_WAIT_S = (5, 10)  #: Devices that are told to ask again come back after a wait drawn between these.
COMPLAINTS_S = 60.0  #: What any device can make the log say is said once in this time.
ENDS_KEPT_MAX = 1024  #: Unknown jobs whose end was logged, which is then said no more.
_UNKNOWN_META = {JobMetaKey.EDGE_METHOD.value: "unknown"}  # of a job that a subclass has put in by its id alone


class EdgeTaskDispatcher(Widget):
    """Brings every request of a device to the FLARE job that must answer it, as FLARE's widget of that name does.

    ``request_timeout``: seconds that a request waits for the answer of its job's process; then it gets RETRY.
    ``max_workers``: the threads that answer devices; the ``max_workers`` of ``ApiService``, if that was changed.
    """

    _now = staticmethod(time.monotonic)

    def __init__(self, request_timeout: float = 5.0, max_workers: int = MAX_WORKERS) -> None:
        super().__init__()
        if not request_timeout > 0:
            raise ValueError(f"request_timeout must be more than 0 seconds, not {request_timeout!r}")
        if max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers!r}")
        self.request_timeout = request_timeout
        self.lock = threading.RLock()  # for all below: never held while something is read, sent or waited for
        self._table = JobTable()
        self._launches: dict[str, object] = {}  # by job id: the launch that reads its config, until the job has ended
        self._other_jobs: set[str] = set()  # running jobs without edge_method: their end is none of our business
        self._ends: dict[str, None] = {}  # unknown jobs whose end was logged, the latest last
        self._silence = Silence(max_workers)
        self._turns: dict[str, threading.Condition] = {}  # by job, where requests wait for their turn
        self._complained_at: dict[str, float] = {}  # by what was said
        self._rng = Random()
        self._register()

    def _register(self) -> None:
        self.register_event_handler(EventType.AFTER_JOB_LAUNCH, self._handle_job_launched)
        self.register_event_handler(
            [EventType.JOB_COMPLETED, EventType.JOB_CANCELLED, EventType.JOB_ABORTED], self._handle_job_done
        )
        self.register_event_handler(EdgeEventType.EDGE_JOB_REQUEST_RECEIVED, self._handle_edge_job_request)
        for event, topic, response in (
            (EdgeEventType.EDGE_TASK_REQUEST_RECEIVED, EdgeMsgTopic.TASK_REQUEST, TaskResponse),
            (EdgeEventType.EDGE_SELECTION_REQUEST_RECEIVED, EdgeMsgTopic.SELECTION_REQUEST, SelectionResponse),
            (EdgeEventType.EDGE_RESULT_REPORT_RECEIVED, EdgeMsgTopic.RESULT_REPORT, ResultResponse),
        ):
            self.register_event_handler(
                event,
                self._handle_edge_request,
                msg_topic=topic,
                bad_req_reply=partial(response, EdgeApiStatus.INVALID_REQUEST),
                no_job_reply=partial(response, EdgeApiStatus.NO_JOB),
                comm_err_reply=partial(response, EdgeApiStatus.RETRY),
            )

    # --- lives of jobs ------------------------------------------------------------------------------------------

    def _handle_job_launched(self, event_type: str, fl_ctx: FLContext) -> None:
        meta = fl_ctx.get_prop(FLContextKey.JOB_META)
        if meta:
            self._add_job(meta, fl_ctx)
        else:
            self.logger.error(f"event {event_type} without {FLContextKey.JOB_META}: ignored")

    def _add_job(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> None:
        if not job_meta:
            return
        job_id, edge_method = job_meta.get(JobMetaKey.JOB_ID) or "", job_meta.get(JobMetaKey.EDGE_METHOD)
        launch = object()
        with self.lock:
            self._launches[job_id] = launch
        config = self._device_config(job_id, fl_ctx) if job_id and edge_method else None
        job = RunningJob(job_id, job_meta.get(JobMetaKey.JOB_NAME) or "", job_meta, config)
        with self.lock:
            if self._launches.get(job_id) is not launch:
                return  # it has ended while its config was read, or a later launch has taken over
            del self._launches[job_id]
            complaint = self._table.apply(JobLaunched(job))
            self._ends.pop(job_id, None)
            self._other_jobs.discard(job_id)
            if job_id and not edge_method:
                self._other_jobs.add(job_id)
        if complaint:
            self.logger.error(complaint)

    def _device_config(self, job_id: str, context: FLContext) -> Any:
        """The job's ``device_config.json``; None without one, or when it cannot be read."""
        workspace = context.get_prop(FLContextKey.WORKSPACE_OBJECT)
        try:
            if workspace is None:
                raise OSError(f"the event has no {FLContextKey.WORKSPACE_OBJECT}")
            path = Path(workspace.get_app_config_dir(job_id), EdgeConfigFile.DEVICE_CONFIG)
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self.logger.error(
                f'job "{job_id}" is offered with a null config, as its {EdgeConfigFile.DEVICE_CONFIG} '
                f"cannot be read: {error}"
            )
            return None

    def _handle_job_done(self, event_type: str, fl_ctx: FLContext) -> None:
        """The id is that of the event's data, else the current job's: an older FLARE sends no data."""
        data = fl_ctx.get_prop(FLContextKey.EVENT_DATA)
        of_event = data.get(JobMetaKey.JOB_ID.value) if isinstance(data, dict) else None
        job_id = of_event or fl_ctx.get_prop(FLContextKey.CURRENT_JOB_ID)
        if not isinstance(job_id, str):
            job_id = ""
        complaint = self._remove_job(job_id)
        if complaint:
            self.logger.error(f"event {event_type}: {complaint}")

    def _remove_job(self, job_id: str) -> str | None:
        """What there is to say of it, if this is an id that was not running; said once of each."""
        with self.lock:
            launching = self._launches.pop(job_id, None) is not None
            if job_id in self._other_jobs:
                self._other_jobs.remove(job_id)
                return None
            complaint = self._table.apply(JobCompleted(job_id))
            self._silence.forget(job_id, running=False)
            if complaint is None or launching or job_id in self._ends:
                return None
            self._ends[job_id] = None
            if len(self._ends) > ENDS_KEPT_MAX:
                del self._ends[next(iter(self._ends))]
            return complaint

    # --- requests of devices ------------------------------------------------------------------------------------

    def _handle_edge_job_request(self, event_type: str, fl_ctx: FLContext) -> None:
        name = getattr(fl_ctx.get_prop(EdgeContextKey.REQUEST_FROM_EDGE), "job_name", None)
        job_id, config = self._match_job(name)
        if job_id is not None:
            reply = JobResponse(EdgeApiStatus.OK, job_id=job_id, job_name=name, job_data={JobDataKey.CONFIG: config})
        elif name:
            reply = JobResponse(EdgeApiStatus.NO_JOB)
        else:
            self._complain(f"event {event_type}: a device sent a request without job_name")
            reply = JobResponse(EdgeApiStatus.INVALID_REQUEST)
        self._set_edge_reply(reply, fl_ctx)
        fl_ctx.set_prop(FLContextKey.JOB_META, self._meta(job_id), private=True, sticky=False)

    def _match_job(self, job_name: Any) -> tuple[str | None, Any]:
        """The id and the device config of a running job of this name; None and None without one."""
        if not job_name or not isinstance(job_name, str):
            return None, None
        with self.lock:
            job = self._table.match(JobRequest(_NO_DEVICE, job_name), self._rng)
        return (job.job_id, job.device_config) if job is not None else (None, None)

    def _meta(self, job_id: str | None) -> Any:
        with self.lock:
            job = self._table.get(job_id) if job_id is not None else None
        return job.meta if job is not None else None

    def _job_exists(self, job_id: Any) -> bool:
        """A device may send anything as a job's id."""
        with self.lock:
            return isinstance(job_id, str) and self._table.get(job_id) is not None

    def _handle_edge_request(
        self,
        event_type: str,
        fl_ctx: FLContext,
        msg_topic: str,
        bad_req_reply: Any,
        no_job_reply: Any,
        comm_err_reply: Any,
    ) -> None:
        """A task or selection request, or a result: its job's process answers.

        Each reply is an object, or makes a new one: what a consumer writes into one answer is then in no other.
        """
        request = fl_ctx.get_prop(EdgeContextKey.REQUEST_FROM_EDGE)
        job_id: Any = getattr(request, "job_id", None)
        if not job_id:
            self._complain(f"event {event_type}: a device sent a {type(request).__name__} without job_id")
            self._set_edge_reply(_made(bad_req_reply), fl_ctx)
        elif not self._job_exists(job_id):
            self._set_edge_reply(_made(no_job_reply), fl_ctx)
        else:
            answer = self._ask_in_turn(job_id, msg_topic, request, fl_ctx)
            reply = self._later(_made(comm_err_reply), request) if answer is None else answer.payload
            self._set_edge_reply(reply, fl_ctx)

    def _ask_in_turn(self, job_id: str, topic: str, request: Any, context: FLContext) -> Any:
        """The job's answer; None when there is none, or when it has fallen silent and others ask it already."""
        if not self._enter(job_id, topic):
            return None
        began, answer = self._now(), None
        try:
            answer = self._ask_job(job_id, topic, request, context)
        finally:
            now = self._now()
            self._leave(job_id, topic, answered=answer is not None or now - began < SILENCE_S, now=now)
        return answer

    def _enter(self, job_id: str, topic: str) -> bool:
        """Whether the request may be sent to its job; waits for its turn while the job answers others."""
        give_up_at = self._now() + self.request_timeout
        with self.lock:
            wait_s = self._silence.ask(job_id, topic, self._now())
            while wait_s:
                turn = self._turns.setdefault(job_id, threading.Condition(self.lock))
                self._silence.wait(job_id, 1)
                turn.wait(max(0.0, min(wait_s, give_up_at - self._now())))
                self._silence.wait(job_id, -1)
                now = self._now()
                wait_s = self._silence.ask(job_id, topic, now, waited=True) if now < give_up_at else None
            if wait_s is None:
                self._forget(job_id)
        return wait_s is not None

    def _leave(self, job_id: str, topic: str, answered: bool, now: float) -> None:
        with self.lock:
            self._silence.leave(job_id, topic, answered, now)
            for turn in self._turns.values():  # of the others too: each may have half of what the rest leaves
                turn.notify()
            self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        """Keep nothing of a job that answers and has nothing in flight, or is over."""
        self._silence.forget(job_id, running=self._table.get(job_id) is not None)
        if job_id in self._turns and not self._silence.waiting(job_id):
            del self._turns[job_id]

    def _ask_job(self, job_id: str, topic: str, request: Any, context: FLContext) -> Any:
        """One message to the job's process, and its answer; None without one."""
        try:
            reply = context.get_engine().send_to_job(
                job_id=job_id,
                channel=CellChannel.EDGE_REQUEST,
                topic=topic,
                msg=new_cell_message({}, request),
                timeout=self.request_timeout,
                optional=True,
            )
            if not isinstance(reply, Message):
                raise TypeError(f"send_to_job gave a {type(reply).__name__}")
        except Exception as error:  # FLARE's engine is not ours: its failure is this one request's
            self.logger.error(f'job "{job_id}" could not be asked for {topic}: {type(error).__name__}: {error}')
            return None
        return reply if reply.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.OK else None

    def _later(self, reply: Any, request: Any) -> Any:
        """With the time to wait, in the unit that the device sleeps in."""
        wait_s = self._rng.randint(*RETRY_WAIT_S)
        device = getattr(request, "device_info", None)
        platform = device.get("platform") if isinstance(device, dict) else None
        reply.retry_wait = wait_s * 1000 if str(platform).lower() == ANDROID else wait_s
        return reply

    def _complain(self, what: str) -> None:
        """Log an error that any device can cause, as often as it likes."""
        now = self._now()
        with self.lock:
            if now - self._complained_at.get(what, -COMPLAINTS_S) < COMPLAINTS_S:
                return
            self._complained_at[what] = now
        self.logger.error(f"{what}; said once in {COMPLAINTS_S:.0f} s")

    @staticmethod
    def _set_edge_reply(reply: Any, fl_ctx: FLContext) -> None:
        fl_ctx.set_prop(EdgeContextKey.REPLY_TO_EDGE, reply, private=True, sticky=False)

    # --- what FLARE's widget keeps as attributes: a subclass may read them, and put others in their place --------

    @property
    def edge_jobs(self) -> dict[str, list[str]]:
        """The ids of the running jobs by name. What is changed in it changes nothing here."""
        found: dict[str, list[str]] = {}
        with self.lock:
            for job in self._table:
                found.setdefault(job.name, []).append(job.job_id)
        return found

    @edge_jobs.setter
    def edge_jobs(self, jobs: dict[str, list[str]]) -> None:
        with self.lock:
            known = {job.job_id: job for job in self._table}
            self._replace(
                RunningJob(job_id, name, known[job_id].meta, known[job_id].device_config)
                if job_id in known
                else RunningJob(job_id, name, _UNKNOWN_META)
                for name, job_ids in jobs.items()
                for job_id in job_ids
            )

    @property
    def job_metas(self) -> dict[str, Any]:
        """The meta of each running job, by id."""
        with self.lock:
            return {job.job_id: job.meta for job in self._table}

    @job_metas.setter
    def job_metas(self, metas: dict[str, Any]) -> None:
        with self.lock:
            self._replace(
                RunningJob(job.job_id, job.name, metas.get(job.job_id) or _UNKNOWN_META, job.device_config)
                for job in self._table
            )

    @property
    def job_device_config(self) -> dict[str, Any]:
        """The device config of each running job, by id."""
        with self.lock:
            return {job.job_id: job.device_config for job in self._table}

    @job_device_config.setter
    def job_device_config(self, configs: dict[str, Any]) -> None:
        with self.lock:
            self._replace(RunningJob(job.job_id, job.name, job.meta, configs.get(job.job_id)) for job in self._table)

    def _replace(self, jobs: Iterable[RunningJob]) -> None:
        self._table.apply(TableSnapshot(tuple(jobs)))


def _made(reply: Any) -> Any:
    """The reply itself, or a new one of its kind."""
    return reply() if callable(reply) else reply
