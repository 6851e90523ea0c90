"""A FLARE client's process without its network: FLARE's own events, contexts, workspace and service for devices.

Only the engine is a stand-in, because FLARE's connects to a FLARE server: it fires events as FLARE's does, and what it
is given for a job's process goes to a function of the test.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.apis.utils.event import fire_event_to_components
from nvflare.apis.workspace import Workspace
from nvflare.edge.constants import EdgeContextKey, EdgeEventType
from nvflare.edge.web.models.device_info import DeviceInfo
from nvflare.edge.web.models.job_request import JobRequest
from nvflare.edge.web.models.result_report import ResultReport
from nvflare.edge.web.models.selection_request import SelectionRequest
from nvflare.edge.web.models.task_request import TaskRequest
from nvflare.edge.web.models.user_info import UserInfo
from nvflare.edge.widgets.api_service import ApiService
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message
from nvflare.widgets.widget import Widget

Sent = dict[str, Any]  #: The arguments of one ``send_to_job``.
EVENT_OF = {
    JobRequest: EdgeEventType.EDGE_JOB_REQUEST_RECEIVED,
    TaskRequest: EdgeEventType.EDGE_TASK_REQUEST_RECEIVED,
    SelectionRequest: EdgeEventType.EDGE_SELECTION_REQUEST_RECEIVED,
    ResultReport: EdgeEventType.EDGE_RESULT_REPORT_RECEIVED,
}
DEVICE = DeviceInfo("device-1", "app", "1.0")


def job_request(name: Any = "mnist", **fields: Any) -> JobRequest:
    return JobRequest(**{"job_name": name, "device_info": DEVICE, "user_info": UserInfo("u"), **fields})


def task_request(job_id: Any = "job-1") -> TaskRequest:
    return TaskRequest(DEVICE, UserInfo("u"), job_id, cookie={})


def selection_request(job_id: Any = "job-1") -> SelectionRequest:
    return SelectionRequest(DEVICE, job_id)


def result_report(job_id: Any = "job-1") -> ResultReport:
    return ResultReport(DEVICE, UserInfo("u"), job_id, "task-1", "train", result={"kind": "number"})


def reply(payload: Any = None, code: str = ReturnCode.OK) -> Message:
    """What FLARE's ``send_to_job`` returns."""
    return Message({MessageHeaderKey.RETURN_CODE: code}, payload)


def unreachable(_: Sent) -> Message:
    return reply(code=ReturnCode.TARGET_UNREACHABLE)


class FlareClient:
    """Site ``site-1`` with these widgets; ``sent`` is what went to jobs, and ``answer`` what they say."""

    def __init__(self, root: Path, *widgets: Widget, answer: Callable[[Sent], Any] = unreachable) -> None:
        for folder in ("startup", "local"):
            (root / folder).mkdir()
        self.workspace = Workspace(str(root), "site-1")
        self.sent: list[Sent] = []
        self.answer = answer
        self._widgets = list(widgets)
        self._manager = FLContextManager(engine=self, identity_name="site-1")
        self.api = ApiService("127.0.0.1", 0)
        self.api.engine = self

    # --- what FLARE's engine does --------------------------------------------------------------------------------

    def new_context(self) -> FLContext:
        context = self._manager.new_context()
        context.put(FLContextKey.WORKSPACE_OBJECT, self.workspace, private=True, sticky=True)
        return context

    def fire_event(self, event: str, context: FLContext) -> None:
        fire_event_to_components(event, self._widgets, context)
        assert not context.get_prop(FLContextKey.EXCEPTIONS), "a widget raised"

    def send_to_job(self, **message: Any) -> Any:
        self.sent.append(message)
        return self.answer(message)

    # --- what happens at a site ----------------------------------------------------------------------------------

    def launch(self, job_id: str = "job-1", name: str = "mnist", config: str | None = None, **meta: Any) -> None:
        """A job starts here; ``config`` is the text of its device_config.json, ``meta`` what its meta has besides."""
        folder = Path(self.workspace.get_app_config_dir(job_id))
        folder.mkdir(parents=True, exist_ok=True)
        if config is not None:
            (folder / "device_config.json").write_text(config)
        self.fire(EventType.AFTER_JOB_LAUNCH, JOB_META={"job_id": job_id, "name": name, "edge_method": "cnn", **meta})

    def fire(self, event: str, **props: Any) -> None:
        """An event with these properties, each named as in ``FLContextKey``."""
        context = self.new_context()
        for key, value in props.items():
            context.set_prop(getattr(FLContextKey, key), value, private=True, sticky=False)
        self.fire_event(event, context)

    def end(self, job_id: str, event: str = EventType.JOB_COMPLETED) -> None:
        self.fire(event, EVENT_DATA={"job_id": job_id})

    def ask(self, request: Any) -> Any:
        """What a device gets from FLARE's service for devices."""
        handle = {
            JobRequest: self.api.handle_job_request,
            TaskRequest: self.api.handle_task_request,
            SelectionRequest: self.api.handle_selection_request,
            ResultReport: self.api.handle_result_report,
        }
        return handle[type(request)](request)

    def context_of(self, request: Any) -> FLContext:
        """The context of a request once it was answered."""
        context = self.new_context()
        context.set_prop(EdgeContextKey.REQUEST_FROM_EDGE, request, private=True, sticky=False)
        self.fire_event(EVENT_OF[type(request)], context)
        return context

    def offered(self, name: str = "mnist") -> set[str | None]:
        """The jobs that many requests for this name get; None stands for NO_JOB."""
        return {self.ask(job_request(name)).job_id for _ in range(50)}
