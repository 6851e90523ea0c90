"""What our widget for FLARE clients does better than the one it replaces."""

import json
import os
import sys
import threading
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, WorkspaceConstants
from nvflare.apis.workspace import Workspace
from nvflare.edge.constants import EdgeApiStatus, EdgeContextKey
from nvflare.edge.web.models.device_info import DeviceInfo
from nvflare.edge.web.models.task_response import TaskResponse
from nvflare.private.fed.app.fl_conf import FLClientStarterConfiger

from tests.flare.flare_client import (
    FlareClient,
    job_request,
    reply,
    result_report,
    selection_request,
    task_request,
)
from tests.flare.page import block
from tests.flare.test_dispatcher import ENDS, held_by
from turnout.integrations.nvflare import MAX_WORKERS, EdgeTaskDispatcher
from turnout.integrations.silence import SILENCE_S

PATIENCE_S = 20.0  #: Ends a test that would hang; no test needs it.
THREADS = MAX_WORKERS
FORWARDED = [task_request, selection_request, result_report]


@pytest.fixture
def client(tmp_path: Path) -> FlareClient:
    return FlareClient(tmp_path, EdgeTaskDispatcher())


class HungJobs:
    """Jobs' processes of which those in ``hung`` do not answer before ``let_go``; ``waiting`` counts who waits."""

    def __init__(self, *hung: str) -> None:
        self._hung = hung
        self._go = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, sent: dict[str, Any]) -> Any:
        if sent["job_id"] in self._hung:
            self.waiting.release()
            assert self._go.wait(PATIENCE_S)
        return reply(TaskResponse(EdgeApiStatus.DONE))

    def let_go(self) -> None:
        self._go.set()


class Clocked(EdgeTaskDispatcher):
    """The widget with a clock that the test sets."""

    now = 0.0

    def _now(self) -> float:
        return self.now


@pytest.mark.parametrize("event", ENDS)
def test_the_end_of_an_unknown_job_is_logged_as_an_error_and_changes_nothing(
    client: FlareClient, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    """7."""
    client.launch()

    client.end("unknown", event)

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert '"unknown"' in caplog.text
    assert client.offered() == {"job-1"}
    client.end("unknown", event)
    assert len(caplog.records) == 1, "once of each"
    client.end("another", event)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(("request_of", "field"), [(job_request, "job_name"), (task_request, "job_id")])
def test_what_any_device_can_send_fills_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request_of: Any, field: str
) -> None:
    """10 and 13: an error as FLARE logs it, but once a minute."""
    widget = Clocked()
    client = FlareClient(tmp_path, widget)
    for now, said in ((0.0, 1), (59.0, 1), (60.0, 2)):
        widget.now = now
        for _ in range(3):
            assert client.ask(request_of("")).status == EdgeApiStatus.INVALID_REQUEST
        assert len(caplog.records) == said
    assert field in caplog.text
    assert {record.levelname for record in caplog.records} == {"ERROR"}


def test_the_end_of_a_job_that_is_no_edge_job_is_no_error(
    client: FlareClient, caplog: pytest.LogCaptureFixture
) -> None:
    """7: FLARE fires these events for every job of the site."""
    client.launch(edge_method="")
    client.end("job-1")
    assert caplog.records == []

    client.end("job-1")
    assert len(caplog.records) == 1


def test_a_job_that_becomes_an_edge_job_ends_as_one(client: FlareClient) -> None:
    """3 and 6."""
    client.launch(edge_method="")
    client.launch()
    client.end("job-1")

    assert client.ask(job_request()).status == EdgeApiStatus.NO_JOB


@pytest.mark.parametrize("request_of", FORWARDED)
@pytest.mark.parametrize(("job_id", "status"), [("", "INVALID_REQUEST"), ("unknown", "NO_JOB"), ("job-1", "RETRY")])
def test_every_refusal_is_a_new_object(client: FlareClient, request_of: Any, job_id: str, status: str) -> None:
    """20: what a consumer writes into one answer is in no other."""
    client.launch()

    first = client.ask(request_of(job_id))
    first.status = "changed"
    second = client.ask(request_of(job_id))

    assert second.status == status
    assert second is not first


@pytest.mark.parametrize("text", ["{", "", "\xff", '{"epochs": 1} x', "[" * 100_000])
def test_a_device_config_that_cannot_be_read_is_one_error_and_the_job_is_offered_with_none(
    client: FlareClient, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """FLARE's own widget raises, and then offers the job half registered."""
    client.launch(config=text)

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert '"job-1"' in caplog.text
    assert "device_config.json" in caplog.text
    assert client.ask(job_request()).job_data == {"config": None}
    client.end("job-1")
    assert client.ask(job_request()).status == EdgeApiStatus.NO_JOB


def test_a_slow_disk_at_a_launch_holds_up_no_request(client: FlareClient) -> None:
    """The config of job-2 comes through a pipe, which is empty until a device of job-1 was answered."""
    client.launch("job-1")
    config = piped_config(client, "job-2")
    with ThreadPoolExecutor(1) as site:
        launched = site.submit(client.launch, "job-2")
        with config.open("w") as pipe:  # opens once the widget reads
            assert client.ask(job_request()).job_id == "job-1"
            assert client.ask(task_request("job-1")).status == EdgeApiStatus.RETRY
            pipe.write('{"epochs": 3}')
        launched.result(PATIENCE_S)

    client.end("job-1")
    assert client.ask(job_request()).job_data == {"config": {"epochs": 3}}


@pytest.mark.parametrize("event", ENDS)
@pytest.mark.parametrize("relaunched", [False, True])
def test_a_job_that_ends_while_its_config_is_read_is_never_offered(
    client: FlareClient, caplog: pytest.LogCaptureFixture, event: str, relaunched: bool
) -> None:
    """FLARE's own widget makes the end wait for the disk, and every request with it."""
    if relaunched:
        client.launch()
    config = piped_config(client, "job-1")
    with ThreadPoolExecutor(1) as site:
        launched = site.submit(client.launch, "job-1")
        with config.open("w") as pipe:  # opens once the widget reads
            client.end("job-1", event)
            pipe.write("{}")
        launched.result(PATIENCE_S)

    assert client.ask(job_request()).status == EdgeApiStatus.NO_JOB
    assert client.ask(task_request("job-1")).status == EdgeApiStatus.NO_JOB
    assert caplog.records == []


def test_of_two_launches_of_a_job_the_later_one_is_offered_though_it_is_read_first(client: FlareClient) -> None:
    config = piped_config(client, "job-1")
    with ThreadPoolExecutor(1) as site:
        first = site.submit(client.launch, "job-1")
        with config.open("w") as pipe:
            config.unlink()
            client.launch("job-1", config='{"epochs": 2}')
            pipe.write('{"epochs": 1}')
        first.result(PATIENCE_S)

    assert client.ask(job_request()).job_data == {"config": {"epochs": 2}}


def piped_config(client: FlareClient, job_id: str) -> Path:
    """A ``device_config.json`` that is read only as a test writes it."""
    folder = Path(client.workspace.get_app_config_dir(job_id))
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / "device_config.json")
    return folder / "device_config.json"


@pytest.mark.parametrize("request_of", [task_request, selection_request, result_report])
def test_a_job_that_hangs_holds_up_no_device_of_another(tmp_path: Path, request_of: Any) -> None:
    """200 requests at once of which half a second later most are refused, so that threads are free."""
    jobs, widget = HungJobs("hung"), Clocked()
    client = FlareClient(tmp_path, widget, answer=jobs)
    for name in ("hung", "lively"):
        client.launch(name)
    with ThreadPoolExecutor(THREADS) as threads:
        held = [threads.submit(client.ask, request_of("hung")) for _ in range(2 * THREADS)]
        for _ in range(THREADS // 2):
            assert jobs.waiting.acquire(timeout=PATIENCE_S)
        widget.now = SILENCE_S

        assert threads.submit(client.ask, task_request("lively")).result(PATIENCE_S).status == EdgeApiStatus.DONE
        refused = [future.result() for future in islice(as_completed(held, PATIENCE_S), 3 * THREADS // 2)]
        assert {answer.status for answer in refused} == {EdgeApiStatus.RETRY}
        assert len(client.sent) == THREADS // 2 + 1, "what is refused is not sent"
        jobs.let_go()
        said = Counter(future.result(PATIENCE_S).status for future in held)
    assert said == {EdgeApiStatus.DONE: THREADS // 2, EdgeApiStatus.RETRY: 3 * THREADS // 2}


def test_a_job_that_has_hung_is_asked_by_one_request_of_each_kind_until_it_answers(tmp_path: Path) -> None:
    jobs, widget = HungJobs("hung"), Clocked(max_workers=8)
    client = FlareClient(tmp_path, widget, answer=jobs)
    client.launch("hung")
    with ThreadPoolExecutor(3) as threads:
        held = [threads.submit(client.ask, task_request("hung"))]
        assert jobs.waiting.acquire(timeout=PATIENCE_S)
        widget.now = SILENCE_S
        held += [threads.submit(client.ask, request_of("hung")) for request_of in (selection_request, result_report)]
        for _ in range(2):
            assert jobs.waiting.acquire(timeout=PATIENCE_S)

        assert {client.ask(request_of("hung")).status for request_of in FORWARDED} == {EdgeApiStatus.RETRY}
        jobs.let_go()
        assert {future.result(PATIENCE_S).status for future in held} == {EdgeApiStatus.DONE}
    assert client.ask(task_request("hung")).status == EdgeApiStatus.DONE


def test_a_job_that_is_slow_answers_as_many_devices_as_there_are_threads(tmp_path: Path) -> None:
    """It answers half of them together: each answer lets another go that waited for its turn."""
    half = threading.Barrier(THREADS // 2)

    def slow(_: Any) -> Any:
        half.wait(PATIENCE_S)
        return reply(TaskResponse(EdgeApiStatus.OK))

    client = FlareClient(tmp_path, Clocked(), answer=slow)
    client.launch()
    with ThreadPoolExecutor(THREADS) as threads:
        asked = [threads.submit(client.ask, task_request()) for _ in range(3 * THREADS)]
        assert {future.result(PATIENCE_S).status for future in asked} == {EdgeApiStatus.OK}


@pytest.mark.parametrize("request_of", [task_request, selection_request, result_report])
@pytest.mark.parametrize(("platform", "unit"), [("android", 1000), ("Android", 1000), ("ios", 1), (None, 1)])
def test_retry_says_when_to_come_back_in_the_unit_of_the_device(
    client: FlareClient, request_of: Any, platform: str | None, unit: int
) -> None:
    client.launch()
    request = request_of()
    request.device_info = DeviceInfo("d", "app", "1.0", platform=platform)

    answer = client.ask(request)

    assert answer.status == EdgeApiStatus.RETRY
    assert answer.retry_wait in range(5 * unit, 10 * unit + 1)


def raises(_: Any) -> Any:
    raise RuntimeError("no cell")


@pytest.mark.parametrize("request_of", FORWARDED)
@pytest.mark.parametrize("answer", [raises, lambda _: None, lambda _: {}], ids=["raises", "nothing", "a dict"])
def test_an_engine_that_fails_is_a_retry_and_takes_no_place(
    tmp_path: Path, request_of: Any, answer: Callable[[Any], Any]
) -> None:
    """16 and 19: never an exception."""
    dispatcher = EdgeTaskDispatcher(max_workers=1)
    client = FlareClient(tmp_path, dispatcher, answer=answer)
    client.launch()

    answers = [client.ask(request_of()) for _ in range(3)]

    assert [answer.status for answer in answers] == [EdgeApiStatus.RETRY] * 3
    assert len(client.sent) == 3


@pytest.mark.parametrize("request_of", [*FORWARDED, job_request])
@pytest.mark.parametrize("name", [["job-1"], {"a": 1}, 7, True])
def test_a_device_may_send_anything_as_a_jobs_name_or_id(client: FlareClient, request_of: Any, name: Any) -> None:
    """10 and 14: JSON has lists, too, and they are no key of a table."""
    client.launch()

    assert client.ask(request_of(name)).status == EdgeApiStatus.NO_JOB
    assert client.sent == []


def test_requests_from_many_threads_while_jobs_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    dispatcher = EdgeTaskDispatcher(max_workers=8)
    client = FlareClient(tmp_path, dispatcher, answer=lambda _: reply(TaskResponse(EdgeApiStatus.OK)))
    client.launch("stays")
    before = held_by(dispatcher)

    def device(number: int) -> set[str]:
        job_id = f"job-{number}"
        seen = set()
        for _ in range(50):
            client.launch(job_id)
            seen |= {client.ask(request_of(job_id)).status for request_of in FORWARDED}
            client.end(job_id)
            seen.add(client.ask(job_request()).status)
        return seen

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as devices:
            assert list(devices.map(device, range(8))) == [{EdgeApiStatus.OK}] * 8
    finally:
        sys.setswitchinterval(interval)

    assert client.offered() == {"stays"}
    assert held_by(dispatcher) == before


@pytest.mark.parametrize("settings", [{"request_timeout": 0.0}, {"request_timeout": -1.0}, {"max_workers": 0}])
def test_a_setting_out_of_range_is_refused_when_the_site_starts(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=name):
        EdgeTaskDispatcher(**settings)


def test_flare_builds_the_widget_from_the_component_in_the_docs(tmp_path: Path) -> None:
    """As a FLARE client does at its start: from the ``resources.json`` of its site."""
    component = json.loads(block("json", "task_dispatcher"))
    for folder in ("startup", "local"):
        (tmp_path / folder).mkdir()
    (tmp_path / "startup" / WorkspaceConstants.CLIENT_STARTUP_CONFIG).write_text('{"format_version": 2, "client": {}}')
    resources = {"format_version": 2, "components": [component]}
    (tmp_path / "local" / WorkspaceConstants.RESOURCES_CONFIG).write_text(json.dumps(resources))

    arguments = Namespace(job_id=None, workspace=str(tmp_path))
    configer = FLClientStarterConfiger(Workspace(str(tmp_path), "site-1"), arguments, ["uid=site-1"])
    configer.configure()

    widget = configer.components["task_dispatcher"]
    assert type(widget) is EdgeTaskDispatcher
    assert widget.request_timeout == component["args"]["request_timeout"]
    assert EventType.AFTER_JOB_LAUNCH in widget.get_event_handlers()


# --- names that FLARE's own tests and subclasses use -----------------------------------------------------------------


def test_jobs_can_be_added_matched_and_removed_by_hand(tmp_path: Path) -> None:
    """What FLARE's widget keeps as attributes is there to be read, and can be put in place as a whole."""
    widget = EdgeTaskDispatcher()
    client = FlareClient(tmp_path, widget)
    meta = {"job_id": "job-1", "name": "mnist", "edge_method": "cnn"}
    widget._add_job({}, client.new_context())
    for _ in range(2):
        widget._add_job(meta, client.new_context())
    assert (widget.edge_jobs, widget.job_metas) == ({"mnist": ["job-1"]}, {"job-1": meta})
    assert (widget._match_job("mnist"), widget._match_job("else")) == (("job-1", None), (None, None))
    assert widget._job_exists("job-1")
    widget._remove_job("job-1")
    widget._remove_job("unknown")
    assert (widget.edge_jobs, widget._job_exists("job-1")) == ({}, False)

    widget.edge_jobs = {"mnist": ["job-2"]}
    widget.job_metas = {"job-2": {**meta, "job_id": "job-2"}}
    widget.job_device_config = {"job-2": {"epochs": 2}}
    assert client.ask(job_request()).job_data == {"config": {"epochs": 2}}
    assert client.context_of(job_request()).get_prop(FLContextKey.JOB_META) == {**meta, "job_id": "job-2"}
    assert widget.job_device_config == {"job-2": {"epochs": 2}}


def test_the_handlers_have_the_names_of_flares_and_take_its_replies(tmp_path: Path) -> None:
    widget = EdgeTaskDispatcher()
    client = FlareClient(tmp_path, widget)
    handlers = {handler.__name__ for entries in widget.get_event_handlers().values() for handler, _ in entries}
    assert handlers == {
        "_handle_job_launched",
        "_handle_job_done",
        "_handle_edge_job_request",
        "_handle_edge_request",
    }
    replies = {status: TaskResponse(status) for status in ("INVALID_REQUEST", "NO_JOB", "RETRY")}
    client.launch()
    for job_id, status in (("", "INVALID_REQUEST"), ("unknown", "NO_JOB"), ("job-1", "RETRY")):
        context = client.new_context()
        context.set_prop(EdgeContextKey.REQUEST_FROM_EDGE, task_request(job_id), private=True, sticky=False)
        widget._handle_edge_request("event", context, "task_request", *replies.values())
        assert context.get_prop(EdgeContextKey.REPLY_TO_EDGE) is replies[status]


def test_a_subclass_that_matches_jobs_its_own_way_is_asked(tmp_path: Path) -> None:
    class Picky(EdgeTaskDispatcher):
        def _match_job(self, job_name: Any) -> tuple[str | None, Any]:
            return super()._match_job(job_name.lower())

    client = FlareClient(tmp_path, Picky())
    client.launch()
    assert client.ask(job_request("MNIST")).job_id == "job-1"
