"""A head that is known but for the device's id means what it would mean if it were parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.fakes import TASK, Gateway, http
from turnout.gateway.core import Expect
from turnout.gateway.heads import HEADS_KEPT_MAX, KnownHeads
from turnout.gateway.routes import Route
from turnout.messages import NOBODY, DeviceInfo, TaskRequest

BODY = b'{"accept": ["safetensors"]}'
TARGET = "/task?job_id=small"
EXPECT = Expect(Route.TASK, DeviceInfo("d1"), NOBODY, {"job_id": "small"}, 65536)


def task(device_id: str, target: str = TARGET, **headers: str) -> bytes:
    return http(target, BODY, **{"X-Flare-Device-ID": device_id}, **headers)


def seen(gateway: Gateway, *requests: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each reply, each request on a connection of its own."""
    replies = [reply for request in requests for reply in gateway.connect().send(request).replies()]
    return [(reply.status, reply.body) for reply in replies]


def remembers(head: bytes) -> bool:
    heads = KnownHeads()
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
    heads = KnownHeads()
    for number in range(HEADS_KEPT_MAX + 1):
        heads.remember(task("d1", f"/task?job_id={number}"), EXPECT, len(BODY), None)
    assert heads.find(task("d2", "/task?job_id=0")) is None
    assert heads.find(task("d2", f"/task?job_id={HEADS_KEPT_MAX}")) is not None
