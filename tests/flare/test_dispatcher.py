"""The widget for FLARE clients keeps every statement of facts/dispatcher-semantics.md, and FLARE's own widget with it.

Each test names its statement and runs with both, so that none of them can ask for what FLARE itself does not do.
Statement 20, and what only ours does, is in test_dispatcher_bounds.py. All classes but the engine are FLARE's.
"""

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.edge.constants import EdgeApiStatus
from nvflare.edge.web.models.capabilities import Capabilities
from nvflare.edge.web.models.device_info import DeviceInfo
from nvflare.edge.web.models.result_response import ResultResponse
from nvflare.edge.web.models.selection_response import SelectionResponse
from nvflare.edge.web.models.task_response import TaskResponse
from nvflare.edge.web.models.user_info import UserInfo
from nvflare.edge.web.service.constants import QueryType
from nvflare.edge.web.service.edge_api_pb2 import Request
from nvflare.edge.widgets.etd import EdgeTaskDispatcher as FlareDispatcher
from nvflare.fuel.f3.cellnet.defs import ALL_RETURN_CODES, CellChannel, ReturnCode

from tests.flare.flare_client import (
    FlareClient,
    job_request,
    reply,
    result_report,
    selection_request,
    task_request,
)
from turnout.integrations.nvflare import EdgeTaskDispatcher

FORWARDED = [
    pytest.param(task_request, TaskResponse, "task_request", id="task"),
    pytest.param(selection_request, SelectionResponse, "selection_request", id="selection"),
    pytest.param(result_report, ResultResponse, "result_report", id="result"),
]
RESULT = {"task_id": "task-1", "task_name": "train", "result": {}}
ENDS = [EventType.JOB_COMPLETED, EventType.JOB_CANCELLED, EventType.JOB_ABORTED]


@pytest.fixture(params=[EdgeTaskDispatcher, FlareDispatcher], ids=["turnout", "flare"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> FlareClient:
    return FlareClient(tmp_path, request.param())


# --- job registry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge_method", ["", None])
def test_a_job_without_edge_method_is_not_offered(client: FlareClient, edge_method: str | None) -> None:
    """1."""
    client.launch(edge_method=edge_method)

    assert client.ask(job_request()).status == EdgeApiStatus.NO_JOB
    assert client.ask(task_request()).status == EdgeApiStatus.NO_JOB


@pytest.mark.parametrize(("name", "status"), [("Mnist", "OK"), ("mnist", "NO_JOB"), ("Mnist ", "NO_JOB")])
def test_a_job_is_offered_under_its_exact_name(client: FlareClient, name: str, status: str) -> None:
    """2."""
    client.launch(name="Mnist")

    assert client.ask(job_request(name)).status == status


def test_a_job_launched_twice_is_registered_once(client: FlareClient) -> None:
    """3."""
    client.launch()
    client.launch()
    client.end("job-1")

    assert client.ask(job_request()).status == EdgeApiStatus.NO_JOB


def test_each_job_request_draws_one_of_the_namesakes_uniformly_whatever_the_device(client: FlareClient) -> None:
    """4."""
    client.launch("job-1")
    client.launch("job-2")

    drawn = Counter(client.ask(job_request()).job_id for _ in range(1000))

    assert set(drawn) == {"job-1", "job-2"}
    assert 400 < drawn["job-1"] < 600


@pytest.mark.parametrize("config", [{"components": [{"name": "trainer"}]}, None])
def test_a_job_is_offered_with_its_id_name_and_device_config(client: FlareClient, config: Any) -> None:
    """5."""
    client.launch(config=config and json.dumps(config))

    answer = client.ask(job_request())

    assert answer.status == EdgeApiStatus.OK
    assert (answer.job_id, answer.job_name) == ("job-1", "mnist")
    assert answer.job_data == {"config": config}


def test_the_device_config_is_that_of_the_launch(client: FlareClient) -> None:
    """5: read once."""
    client.launch(config='{"epochs": 1}')
    Path(client.workspace.get_app_config_dir("job-1"), "device_config.json").write_text('{"epochs": 2}')

    assert client.ask(job_request()).job_data == {"config": {"epochs": 1}}


@pytest.mark.parametrize("event", ENDS)
@pytest.mark.parametrize("told_by", ["EVENT_DATA", "CURRENT_JOB_ID"])
def test_an_ended_job_is_gone_for_name_and_id_and_others_stay(client: FlareClient, event: str, told_by: str) -> None:
    """6: the id is that of the event's data, else the current job's."""
    client.launch("job-1")
    client.launch("job-2")
    client.launch("job-3", "cifar")

    client.fire(event, **{told_by: {"job_id": "job-1"} if told_by == "EVENT_DATA" else "job-1"})

    assert client.offered() == {"job-2"}
    assert client.ask(task_request("job-1")).status == EdgeApiStatus.NO_JOB
    assert client.offered("cifar") == {"job-3"}


def test_the_id_in_the_events_data_goes_before_the_current_jobs(client: FlareClient) -> None:
    """6."""
    client.launch("job-1")
    client.launch("job-2")

    client.fire(EventType.JOB_COMPLETED, EVENT_DATA={"job_id": "job-1"}, CURRENT_JOB_ID="job-2")

    assert client.offered() == {"job-2"}


@pytest.mark.parametrize(
    ("event", "props"),
    [(EventType.AFTER_JOB_LAUNCH, {}), (EventType.JOB_COMPLETED, {}), (EventType.JOB_ABORTED, {"EVENT_DATA": {}})],
)
def test_an_event_without_id_or_meta_is_logged_as_an_error_and_changes_nothing(
    client: FlareClient, caplog: pytest.LogCaptureFixture, event: str, props: dict[str, Any]
) -> None:
    """7; of an unknown id, which FLARE's own widget does not log, test_dispatcher_bounds.py."""
    client.launch()

    client.fire(event, **props)

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert client.offered() == {"job-1"}


def test_a_name_disappears_with_its_last_job(client: FlareClient) -> None:
    """8."""
    client.launch("job-1")
    client.launch("job-2")

    client.end("job-1")
    assert client.ask(job_request()).status == EdgeApiStatus.OK
    client.end("job-2")
    assert client.ask(job_request()).status == EdgeApiStatus.NO_JOB


@pytest.mark.parametrize(("request_of", "response", "_topic"), FORWARDED)
def test_a_job_is_offered_before_its_process_answers_and_requests_in_between_get_retry(
    client: FlareClient, request_of: Any, response: type, _topic: str
) -> None:
    """9."""
    client.launch()

    assert client.ask(job_request()).status == EdgeApiStatus.OK
    answer = client.ask(request_of())

    assert type(answer) is response
    assert answer.status == EdgeApiStatus.RETRY


# --- job request ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status"), [("", "INVALID_REQUEST"), (None, "INVALID_REQUEST"), ("unknown", "NO_JOB"), ("mnist", "OK")]
)
def test_a_job_request_is_answered_here_and_never_forwarded(client: FlareClient, name: str | None, status: str) -> None:
    """10."""
    client.launch()

    assert client.ask(job_request(name)).status == status
    assert client.sent == []


@pytest.mark.parametrize(("name", "meta"), [("mnist", {"job_id": "job-1", "name": "mnist", "edge_method": "cnn"})])
def test_the_context_of_a_job_request_holds_the_meta_of_the_match(
    client: FlareClient, name: str, meta: dict[str, str]
) -> None:
    """11: private, not sticky."""
    client.launch()

    context = client.context_of(job_request(name))

    assert context.get_prop_detail(FLContextKey.JOB_META) == {"value": meta, "private": True, "sticky": False}


@pytest.mark.parametrize("name", ["unknown", ""])
def test_the_context_of_a_job_request_without_match_holds_no_meta(client: FlareClient, name: str) -> None:
    """11."""
    client.launch()

    assert client.context_of(job_request(name)).get_prop(FLContextKey.JOB_META) is None


def test_capabilities_device_and_user_play_no_part_in_matching(client: FlareClient) -> None:
    """12."""
    client.launch()
    toaster = DeviceInfo("toaster", "x", "0.0.1", platform="toaster")

    request = job_request(device_info=toaster, user_info=UserInfo("nobody"), capabilities=Capabilities(["else"]))

    assert client.ask(request).status == EdgeApiStatus.OK


# --- task, selection, result ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("request_of", "response", "_topic"), FORWARDED)
@pytest.mark.parametrize("job_id", ["", None])
def test_a_request_without_job_id_is_invalid_in_its_own_class(
    client: FlareClient, request_of: Any, response: type, _topic: str, job_id: str | None
) -> None:
    """13: even where no job is."""
    answer = client.ask(request_of(job_id))

    assert type(answer) is response
    assert answer.status == EdgeApiStatus.INVALID_REQUEST


@pytest.mark.parametrize(("request_of", "response", "_topic"), FORWARDED)
@pytest.mark.parametrize("job_id", ["unknown", "finished"])
def test_an_unknown_or_finished_job_is_no_job_in_the_requests_own_class(
    client: FlareClient, request_of: Any, response: type, _topic: str, job_id: str
) -> None:
    """14."""
    client.launch("finished")
    client.end("finished")

    answer = client.ask(request_of(job_id))

    assert type(answer) is response
    assert answer.status == EdgeApiStatus.NO_JOB
    assert client.sent == []


@pytest.mark.parametrize(("request_of", "_response", "topic"), FORWARDED)
def test_the_request_itself_goes_to_the_jobs_process_in_one_optional_message(
    client: FlareClient, request_of: Any, _response: type, topic: str
) -> None:
    """15."""
    client.launch()
    request = request_of()
    before = json.dumps(request)

    client.ask(request)

    (sent,) = client.sent
    message = sent.pop("msg")
    assert sent == {
        "job_id": "job-1",
        "channel": CellChannel.EDGE_REQUEST,
        "topic": topic,
        "timeout": 5.0,
        "optional": True,
    }
    assert message.payload is request
    assert json.dumps(request) == before


@pytest.mark.parametrize("widget", [EdgeTaskDispatcher, FlareDispatcher], ids=["turnout", "flare"])
def test_the_timeout_is_that_of_the_setting(tmp_path: Path, widget: Any) -> None:
    """15."""
    client = FlareClient(tmp_path, widget(request_timeout=0.5))
    client.launch()

    client.ask(task_request())

    assert client.sent[0]["timeout"] == 0.5


@pytest.mark.parametrize(("request_of", "response", "_topic"), FORWARDED)
def test_the_jobs_reply_is_the_answer_untouched(
    client: FlareClient, request_of: Any, response: type, _topic: str
) -> None:
    """16, first half: the same object."""
    client.launch()
    answer = response(EdgeApiStatus.DONE)
    client.answer = lambda _: reply(answer)

    assert client.ask(request_of()) is answer


@pytest.mark.parametrize(("request_of", "response", "_topic"), FORWARDED)
@pytest.mark.parametrize("code", [code for code in ALL_RETURN_CODES if code != ReturnCode.OK])
def test_any_other_return_code_is_a_retry_of_the_requests_own_class(
    client: FlareClient, request_of: Any, response: type, _topic: str, code: str
) -> None:
    """16, second half."""
    client.launch()
    client.answer = lambda _: reply(response(EdgeApiStatus.OK), code)

    answer = client.ask(request_of())

    assert type(answer) is response
    assert answer.status == EdgeApiStatus.RETRY
    assert len(client.sent) == 1, "17: no retry by the dispatcher"


def test_requests_run_side_by_side_and_do_not_wait_for_one_another(client: FlareClient) -> None:
    """17: the first two wait until the third, which overtakes them, was answered."""
    client.launch("job-1")
    client.launch("job-2")
    both_wait, overtaken = threading.Barrier(3), threading.Event()

    def answer(sent: dict[str, Any]) -> Any:
        if sent["job_id"] == "job-1":
            both_wait.wait(10)
            assert overtaken.wait(10)
        return reply(TaskResponse(EdgeApiStatus.DONE, job_id=sent["job_id"]))

    client.answer = answer
    with ThreadPoolExecutor(2) as devices:
        slow = [devices.submit(client.ask, task_request("job-1")) for _ in range(2)]
        both_wait.wait(10)
        assert client.ask(task_request("job-2")).job_id == "job-2"
        assert client.ask(job_request()).status == EdgeApiStatus.OK
        overtaken.set()
        assert [future.result().job_id for future in slow] == ["job-1", "job-1"]


@pytest.mark.parametrize("widget", [EdgeTaskDispatcher, FlareDispatcher], ids=["turnout", "flare"])
def test_nothing_is_kept_of_a_device_once_it_is_answered(tmp_path: Path, widget: Any) -> None:
    """18: what the widget holds is the same after a hundred devices as after none."""
    dispatcher = widget()
    client = FlareClient(tmp_path, dispatcher)
    client.launch()
    before = held_by(dispatcher)

    for number in range(100):
        device = DeviceInfo(f"device-{number}", "app", "1.0")
        for request in (job_request(), task_request(), selection_request(), result_report()):
            client.ask(type(request)(**{**request, "device_info": device}))

    assert held_by(dispatcher) == before


@pytest.mark.parametrize(("request_of", "response", "_topic"), FORWARDED)
def test_a_request_in_flight_when_its_job_ends_gets_the_jobs_own_answer_or_retry(
    client: FlareClient, request_of: Any, response: type, _topic: str
) -> None:
    """19: the job ends while it is asked."""
    client.launch()
    last_words = [reply(response(EdgeApiStatus.DONE)), reply(code=ReturnCode.TARGET_UNREACHABLE)]

    def answer(_: dict[str, Any]) -> Any:
        client.end("job-1")
        return last_words.pop(0)

    client.answer = answer
    assert client.ask(request_of()).status == EdgeApiStatus.DONE
    client.launch()
    assert client.ask(request_of()).status == EdgeApiStatus.RETRY
    assert client.ask(request_of()).status == EdgeApiStatus.NO_JOB


# --- as devices see it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "status", "payload"),
    [
        (QueryType.JOB_REQUEST, {"job_name": "mnist", "capabilities": {"methods": ["cnn"]}}, "OK", "OK"),
        (QueryType.JOB_REQUEST, {"job_name": "else", "capabilities": {"methods": ["cnn"]}}, "OK", "NO_JOB"),
        (QueryType.TASK_REQUEST, {"job_id": "job-1"}, "OK", "RETRY"),
        (QueryType.SELECTION_REQUEST, {"job_id": "else"}, "OK", "NO_JOB"),
        (
            QueryType.RESULT_REPORT,
            {"job_id": "", "task_id": "t", "task_name": "n", "result": {}},
            "OK",
            "INVALID_REQUEST",
        ),
        (QueryType.TASK_REQUEST, {}, "INVALID_REQUEST", None),
    ],
)
def test_flares_own_service_for_devices_works_with_it(
    client: FlareClient, kind: str, body: dict[str, Any], status: str, payload: str | None
) -> None:
    """Bytes in, bytes out: what a device sends over gRPC is answered by FLARE's query handler and this widget."""
    client.launch()
    sent = {"device_info": {"device_id": "d"}, "status": "OK", **body}

    answer = client.api.handle_query(Request(type=kind, payload=json.dumps(sent).encode()))

    assert answer.status == status
    assert payload is None or json.loads(answer.payload)["status"] == payload


def held_by(root: object) -> int:
    """How many containers and values hang on ``root``, FLARE's loggers and event tables apart."""
    seen: set[int] = set()
    todo = [value for name, value in vars(root).items() if name not in ("logger", "_event_handlers")]
    while todo:
        here = todo.pop()
        if id(here) in seen or isinstance(here, type):
            continue
        seen.add(id(here))
        if isinstance(here, dict):
            todo += [*here.keys(), *here.values()]
        elif isinstance(here, list | tuple | set):
            todo += here
        elif type(here).__module__.startswith("turnout"):
            todo += list(getattr(here, "__dict__", {}).values())
    return len(seen)
