"""A head that is known but for the device's id means what it would mean if it were parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.fakes import BIG_SCHEMA, SCHEMA, TASK, Gateway, get, http, result, update_of
from turnout.gateway.calls import Call
from turnout.gateway.http1.heads import HEADS_KEPT_MAX, KnownHeads
from turnout.gateway.routes import Route
from turnout.messages import NOBODY, DeviceInfo, ResultReport, TaskRequest

BODY = b'{"accept": ["safetensors"]}'
TARGET = "/task?job_id=small"
EXPECT = Call(Route.TASK, DeviceInfo("d1"), NOBODY, {"job_id": "small"}, 65536)


def task(device_id: str, target: str = TARGET, **headers: str) -> bytes:
    return http(target, BODY, **{"X-Flare-Device-ID": device_id}, **headers)


def seen(gateway: Gateway, *requests: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each reply, each request on a connection of its own."""
    replies = [reply for request in requests for reply in gateway.connect().send(request).replies()]
    return [(reply.status, reply.body) for reply in replies]


def remembers(head: bytes) -> bool:
    heads = KnownHeads(Gateway().site.core)
    heads.remember(head, EXPECT, len(BODY), None)
    return heads.find(head) is not None


def test_another_device_with_the_same_head_is_itself() -> None:
    gateway = Gateway()
    about = {"X-Flare-Device-Info": "platform=linux"}
    gateway.connect().send(task("one", **about), task("two", **about))
    gateway.connect().send(task("three", **about))
    assert [request.device for request in gateway.dispatcher.requests if isinstance(request, TaskRequest)] == [
        DeviceInfo("one", platform="linux"),
        DeviceInfo("two", platform="linux"),
        DeviceInfo("three", platform="linux"),
    ]
    assert gateway.counters.requests["task"] == 3


@given(
    device_id=st.one_of(
        st.text('aZ09._:@~+=/-?# \t"\\', max_size=140),
        st.sampled_from(
            ["d1\r\nConnection: close", "d1\r\nX-Flare-Device-ID: d2", "d1\r\n\r\n", "d1\n", "d1\r", " d1 "]
        ),
    ),
    about=st.sampled_from([{}, {"X-Flare-Device-Info": "device_id=d1"}, {"X_Extra": "1"}, {"Connection": "close"}]),
)
def test_a_known_head_means_what_a_parsed_one_does(device_id: str, about: dict[str, str]) -> None:
    request = task(device_id, **about)
    knowing, parsing = Gateway(), Gateway()
    knowing.connect().send(task("d1", **about))
    first = len(knowing.dispatcher.requests)
    assert seen(knowing, request) == seen(parsing, request)
    assert knowing.dispatcher.requests[first:] == parsing.dispatcher.requests


UPDATE = update_of(SCHEMA)


def report(query: str, device_id: str = "d1", update: bytes = UPDATE, **headers: str) -> bytes:
    about = {"X-Flare-Device-ID": device_id, "Content-Type": "application/vnd.safetensors", **headers}
    return http(f"/result?{query}", update, **about)


def test_results_of_other_devices_and_tasks_have_the_same_head() -> None:
    gateway = Gateway()
    wire = gateway.connect().send(
        report("job_id=small&task_id=t1&task_name=train&num_examples=3", "one"),
        report("job_id=small&task_id=t2&task_name=train&num_examples=4&metrics=%7B%22loss%22%3A1%7D", "two"),
    )
    assert [reply.status for reply in wire.replies()] == [200, 200]
    found = [request for request in gateway.dispatcher.requests if isinstance(request, ResultReport)]
    assert [(each.device.device_id, each.task_id, each.num_examples, dict(each.metrics)) for each in found] == [
        ("one", "t1", 3.0, {}),
        ("two", "t2", 4.0, {"loss": 1.0}),
    ]
    assert gateway.counters.requests["result"] == 2
    assert not gateway.dispatcher.room.reserved


@given(
    query=st.one_of(
        st.sampled_from(
            [
                "job_id=small&task_id=t1&task_name=train",
                "job_id=small&task_id=t1&task_name=train&num_examples=nan",
                "job_id=gone&task_id=t1&task_name=train",
                "job_id=big&task_id=t1&task_name=train",
                "job_id=small&job_id=small",
                "job_id=small&x\r\nY: HTTP/1.1\r\nHost: gateway",
                "job_id=small&task_id=t1&task_name=train HTTP/1.1\r\nHost: gateway\r\nX: ",
            ]
        ),
        st.text("job_id=smltk&#%7B+?/ \t\r\n\x00é", max_size=60),
    ),
    update=st.sampled_from([UPDATE, UPDATE[:-4], b"", b"\xff" * len(UPDATE), update_of(BIG_SCHEMA)]),
)
def test_a_known_head_of_a_result_means_what_a_parsed_one_does(query: str, update: bytes) -> None:
    request = report(query, "d2", update)
    knowing, parsing = Gateway(), Gateway()
    knowing.connect().send(result(update))
    first = len(knowing.dispatcher.requests)
    assert seen(knowing, request) == seen(parsing, request)
    assert knowing.dispatcher.requests[first:] == parsing.dispatcher.requests


def test_a_result_with_a_known_head_waits_until_there_is_room_for_it() -> None:
    gateway = Gateway()
    wire = gateway.connect().send(report("job_id=small&task_id=t1&task_name=train"))
    gateway.dispatcher.room.bytes_max = 0
    wire.send(report("job_id=small&task_id=t2&task_name=train"))
    assert len(wire.replies()) == 1
    gateway.dispatcher.room.make()
    assert [reply.status for reply in wire.replies()] == [200, 200]


def test_a_device_that_calls_itself_otherwise_in_its_info_is_refused_though_the_head_is_known() -> None:
    about = {"X-Flare-Device-Info": "device_id=d1"}
    (good, bad) = seen(Gateway(), task("d1", **about), task("d2", **about))
    assert good[0] == 200
    assert bad[0] == 400
    assert b"Device ID mismatch" in bad[1]


@pytest.mark.parametrize("cut", [len(TASK) - 1, len(TASK) - len(BODY), TASK.index(b"d1"), TASK.index(b"d1") + 2, 30, 1])
def test_half_a_request_with_a_known_head_waits_for_the_rest(cut: int) -> None:
    wire = Gateway().connect().send(TASK, TASK[:cut])
    assert len(wire.replies()) == 1
    wire.send(TASK[cut:])
    assert [reply.status for reply in wire.replies()] == [200, 200]


def test_two_requests_with_known_heads_in_one_read_are_two() -> None:
    wire = Gateway().connect().send(TASK, TASK + task("d2"))
    assert [reply.status for reply in wire.replies()] == [200] * 3


@pytest.mark.parametrize(
    "head",
    [
        task("d1", x_flare_device_id="d1"),
        task("d1", "/task?job_id=small&also=x-flare-device-id"),
        http(TARGET, BODY, drop=("X-Flare-Device-ID",)),
        http(TARGET, BODY, drop=("X-Flare-Device-ID",), x_flare_device_id="d1"),
    ],
)
def test_a_head_that_does_not_name_the_device_once_in_the_usual_way_is_not_kept(head: bytes) -> None:
    assert not remembers(head)
    assert remembers(task("d1"))


def test_the_heads_kept_are_bounded() -> None:
    heads = KnownHeads(Gateway().site.core)
    for number in range(HEADS_KEPT_MAX + 1):
        heads.remember(task("d1", f"/task?job_id={number}"), EXPECT, len(BODY), None)
    assert heads.find(task("d2", "/task?job_id=0")) is None
    assert heads.find(task("d2", f"/task?job_id={HEADS_KEPT_MAX}")) is not None


def test_a_long_head_is_not_kept() -> None:
    assert remembers(task("d1", Padding="x" * 1000).removesuffix(BODY) + BODY)
    assert not remembers(task("d1", Padding="x" * 2000).removesuffix(BODY) + BODY)


def test_a_request_without_a_device_before_another_in_one_read_is_never_swallowed() -> None:
    health, gateway = get("/healthz"), Gateway()
    wire = gateway.connect().send(health + TASK, health + TASK)
    assert [reply.status for reply in wire.replies()] == [200] * 4
    assert [reply.json for reply in wire.replies()][::2] == [{"status": "ok"}] * 2
