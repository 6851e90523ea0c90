"""NVIDIA FLARE's edge task dispatcher with our table and bounds: a widget for the ``resources.json`` of a FLARE client.

It runs inside FLARE's client process, between FLARE's own service for devices (``ApiService``) and FLARE's job
processes, in place of ``nvflare.edge.widgets.etd.EdgeTaskDispatcher``. Events, context keys, channel, topics and
replies are FLARE's; docs/FLARE.md says what is better. FLARE calls it from many threads at once.
"""

import json
import threading
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from turnout.dispatcher.table import JobTable
from turnout.messages import (
    DeviceInfo,
    JobAborted,
    JobCancelled,
    JobCompleted,
    JobLaunched,
    JobRequest,
    RunningJob,
)

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
    from nvflare.widgets.widget import Widget
except ImportError as error:
    raise ImportError(
        "turnout.integrations.nvflare runs inside NVIDIA FLARE, of which this Python lacks a part: "
        f'pip install "nvflare>=2.9" beside turnout ({error})'
    ) from error

_NO_DEVICE = DeviceInfo("")  # a FLARE job declares no eligibility, so it matters to no match which device asks


class EdgeTaskDispatcher(Widget):
    """Brings every request of a device to the FLARE job that must answer it, as FLARE's widget of that name does.

    ``request_timeout``: seconds that a request waits for the answer of its job's process; then it gets RETRY.
    ``inflight_max``: task and selection requests in flight to one job; beyond it RETRY at once. Keep it below
    ``ApiService``'s ``max_workers``, so that a job that hangs leaves threads for the others.
    ``results_inflight_max``: the same for results, apart and higher: FLARE's devices lose a result that gets RETRY.
    """

    def __init__(self, request_timeout: float = 5.0, inflight_max: int = 64, results_inflight_max: int = 1024) -> None:
        super().__init__()
        if not request_timeout > 0:
            raise ValueError(f"request_timeout must be more than 0 seconds, not {request_timeout!r}")
        if inflight_max < 1 or results_inflight_max < 1:
            least = min(inflight_max, results_inflight_max)
            raise ValueError(f"inflight_max and results_inflight_max must be at least 1, not {least!r}")
        self.request_timeout = request_timeout
        self._inflight_max = inflight_max
        self._results_inflight_max = results_inflight_max
        self._lock = threading.Lock()  # for the five below: never held while something is read, sent or waited for
        self._table = JobTable()
        self._launches: dict[str, object] = {}  # by job id: the launch that reads its config, until the job has ended
        self._other_jobs: set[str] = set()  # running jobs without edge_method: their end is none of our business
        self._inflight: Counter[tuple[str, bool]] = Counter()  # by job id, results apart
        self._rng = Random()
        self._register()

    def _register(self) -> None:
        self.register_event_handler(EventType.AFTER_JOB_LAUNCH, self._job_launched)
        for event, end in (
            (EventType.JOB_COMPLETED, JobCompleted),
            (EventType.JOB_CANCELLED, JobCancelled),
            (EventType.JOB_ABORTED, JobAborted),
        ):
            self.register_event_handler(event, self._job_ended, end=end)
        self.register_event_handler(EdgeEventType.EDGE_JOB_REQUEST_RECEIVED, self._job_requested)
        for event, topic, response in (
            (EdgeEventType.EDGE_TASK_REQUEST_RECEIVED, EdgeMsgTopic.TASK_REQUEST, TaskResponse),
            (EdgeEventType.EDGE_SELECTION_REQUEST_RECEIVED, EdgeMsgTopic.SELECTION_REQUEST, SelectionResponse),
            (EdgeEventType.EDGE_RESULT_REPORT_RECEIVED, EdgeMsgTopic.RESULT_REPORT, ResultResponse),
        ):
            self.register_event_handler(event, self._job_concerned, topic=topic, response=response)

    # --- lives of jobs ------------------------------------------------------------------------------------------

    def _job_launched(self, event: str, context: FLContext) -> None:
        meta = context.get_prop(FLContextKey.JOB_META)
        if not meta:
            self.logger.error(f"event {event} without {FLContextKey.JOB_META}: ignored")
            return
        job_id, edge_method = meta.get(JobMetaKey.JOB_ID) or "", meta.get(JobMetaKey.EDGE_METHOD)
        launch = object()
        with self._lock:
            self._launches[job_id] = launch
        config = self._device_config(job_id, context) if job_id and edge_method else None
        job = RunningJob(job_id, meta.get(JobMetaKey.JOB_NAME) or "", meta, config)
        with self._lock:
            if self._launches.get(job_id) is not launch:
                return  # it has ended while its config was read, or a later launch has taken over
            del self._launches[job_id]
            complaint = self._table.apply(JobLaunched(job))
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

    def _job_ended(self, event: str, context: FLContext, end: type[JobCompleted | JobCancelled | JobAborted]) -> None:
        """The id is that of the event's data, else the current job's: an older FLARE sends no data."""
        data = context.get_prop(FLContextKey.EVENT_DATA)
        of_event = data.get(JobMetaKey.JOB_ID.value) if isinstance(data, dict) else None
        job_id = of_event or context.get_prop(FLContextKey.CURRENT_JOB_ID)
        if not isinstance(job_id, str):
            job_id = ""
        with self._lock:
            launching = self._launches.pop(job_id, None) is not None
            if job_id in self._other_jobs:
                self._other_jobs.remove(job_id)
                return
            if launching and self._table.get(job_id) is None:
                return
            complaint = self._table.apply(end(job_id))
        if complaint:
            self.logger.error(complaint)

    # --- requests of devices ------------------------------------------------------------------------------------

    def _job_requested(self, event: str, context: FLContext) -> None:
        name = getattr(context.get_prop(EdgeContextKey.REQUEST_FROM_EDGE), "job_name", None)
        job = self._match(name)
        if job is not None:
            config = {JobDataKey.CONFIG: job.device_config}
            reply = JobResponse(EdgeApiStatus.OK, job_id=job.job_id, job_name=name, job_data=config)
        else:
            reply = JobResponse(EdgeApiStatus.NO_JOB if name else EdgeApiStatus.INVALID_REQUEST)
        self._reply(context, reply)
        context.set_prop(FLContextKey.JOB_META, job.meta if job else None, private=True, sticky=False)

    def _match(self, name: object) -> RunningJob | None:
        if not name or not isinstance(name, str):
            return None
        with self._lock:
            return self._table.match(JobRequest(_NO_DEVICE, name), self._rng)

    def _job_concerned(self, event: str, context: FLContext, topic: str, response: type) -> None:
        """A task or selection request, or a result: its job's process answers. Every refusal is a new object."""
        request = context.get_prop(EdgeContextKey.REQUEST_FROM_EDGE)
        job_id: Any = getattr(request, "job_id", None)
        of_result = topic == EdgeMsgTopic.RESULT_REPORT
        status = self._enter(job_id, of_result)
        if status != EdgeApiStatus.OK:
            self._reply(context, response(status))
            return
        try:
            reply = self._ask_job(job_id, topic, request, context)
        finally:
            self._leave(job_id, of_result)
        if reply is not None and reply.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.OK:
            self._reply(context, reply.payload)
        else:
            self._reply(context, response(EdgeApiStatus.RETRY))

    def _enter(self, job_id: Any, of_result: bool) -> str:
        """OK, and from now on in flight; or the status of the refusal. A device may send anything as a job's id."""
        if not job_id:
            return EdgeApiStatus.INVALID_REQUEST
        with self._lock:
            if not isinstance(job_id, str) or self._table.get(job_id) is None:
                return EdgeApiStatus.NO_JOB
            if self._inflight[job_id, of_result] >= (self._results_inflight_max if of_result else self._inflight_max):
                return EdgeApiStatus.RETRY
            self._inflight[job_id, of_result] += 1
        return EdgeApiStatus.OK

    def _leave(self, job_id: str, of_result: bool) -> None:
        """No longer in flight; a job without any leaves no trace."""
        with self._lock:
            self._inflight[job_id, of_result] -= 1
            if not self._inflight[job_id, of_result]:
                del self._inflight[job_id, of_result]

    def _ask_job(self, job_id: str, topic: str, request: Any, context: FLContext) -> Any:
        """One message to the job's process, and what came back; None when it could not even be sent."""
        try:
            return context.get_engine().send_to_job(
                job_id=job_id,
                channel=CellChannel.EDGE_REQUEST,
                topic=topic,
                msg=new_cell_message({}, request),
                timeout=self.request_timeout,
                optional=True,
            )
        except Exception as error:  # FLARE's engine is not ours: its failure is this one request's
            self.logger.error(f'job "{job_id}" could not be asked for {topic}: {type(error).__name__}: {error}')
            return None

    def _reply(self, context: FLContext, reply: Any) -> None:
        context.set_prop(EdgeContextKey.REPLY_TO_EDGE, reply, private=True, sticky=False)
