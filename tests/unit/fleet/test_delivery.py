"""Requests with and without mischief, against a server that answers by a script."""

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from random import Random

import pytest

from tests.unit.device.scripted import Asked, ScriptedServer, reply
from turnout.device.exchange import NoAnswer
from turnout.device.http import HttpClient, HttpLimits
from turnout.device.session import Session
from turnout.fleet.core import SimDevice
from turnout.fleet.delivery import DROPPED, Delivery
from turnout.fleet.ledger import Ledger, Sent, Told, decode, read
from turnout.fleet.lines import SharedLines
from turnout.fleet.spec import FleetSpec
from turnout.messages import (
    DeviceInfo,
    EdgeRequest,
    EdgeResponse,
    JobRequest,
    ModelSchema,
    ResultReport,
    ResultResponse,
    Status,
    TensorSpec,
)

pytestmark = pytest.mark.anyio

DEVICE = DeviceInfo("sim-000000")
REPORT = ResultReport(DEVICE, "j1", "t1", "train", memoryview(b"\0\0\x80?"))
JOB = JobRequest(DEVICE, "digits")


def counted(duplicate: bool = False) -> bytes:
    return reply(json.dumps({"status": "OK", "counted": True, "duplicate": duplicate}).encode())


async def deliver(
    server: ScriptedServer, spec: FleetSpec, *requests: EdgeRequest, ledger: Ledger | None = None
) -> list[EdgeResponse | NoAnswer]:
    """What one device hears of these requests, sent one after the other; the client is closed once all is quiet."""
    http = HttpClient(server.url, HttpLimits(connections_max=2))
    device = SimDevice(0, Session(DEVICE, "digits", Random(0)), spec, 0.0)
    device.schema = ModelSchema((TensorSpec("w", (1,)),))
    heard: list[EdgeResponse | NoAnswer] = []
    came = asyncio.Event()

    def hear(device: SimDevice, answer: EdgeResponse | NoAnswer) -> None:
        heard.append(answer)
        came.set()

    delivery = Delivery(SharedLines(http), spec, hear, ledger)
    for request in requests:
        came.clear()
        delivery.send(device, request)
        await came.wait()
    await http.close()
    return heard


async def test_without_mischief_a_request_is_sent_once_and_its_answer_heard() -> None:
    async with ScriptedServer(lambda asked: counted()) as server:
        assert await deliver(server, FleetSpec(1), REPORT, REPORT) == [ResultResponse(Status.OK, counted=True)] * 2
        assert (len(server.asked), server.connections) == (2, 1)


async def test_a_result_sent_twice_travels_on_two_connections_at_once_and_the_first_answer_is_heard() -> None:
    both_came = asyncio.Event()
    answers = iter([counted(), counted(duplicate=True)])

    async def when_both_are_here(asked: Asked) -> bytes | None:
        if len(server.asked) == 2:
            both_came.set()
        await both_came.wait()
        return next(answers)

    async with ScriptedServer(when_both_are_here) as server:
        assert await deliver(server, FleetSpec(1, duplicates=1.0), REPORT) == [ResultResponse(Status.OK, counted=True)]
        assert server.connections == 2
        assert server.asked[0] == server.asked[1]


async def test_only_results_are_sent_twice() -> None:
    async with ScriptedServer(lambda asked: reply(b'{"status": "NO_JOB"}')) as server:
        await deliver(server, FleetSpec(1, duplicates=1.0), JOB)
        assert len(server.asked) == 1


async def test_when_one_of_two_copies_has_no_answer_the_other_s_is_heard() -> None:
    answers = iter([None, counted()])
    async with ScriptedServer(lambda asked: next(answers)) as server:
        assert await deliver(server, FleetSpec(1, duplicates=1.0), REPORT) == [ResultResponse(Status.OK, counted=True)]


async def test_when_neither_copy_has_an_answer_that_is_heard_once() -> None:
    async with ScriptedServer(lambda asked: None) as server:
        assert await deliver(server, FleetSpec(1, duplicates=1.0), REPORT) == [NoAnswer("broken")]
        assert len(server.asked) == 2


def never(asked: Asked) -> Awaitable[bytes | None]:
    return asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("script", [lambda asked: counted(), never], ids=["answered", "unanswered"])
async def test_a_connection_that_breaks_before_the_answer_is_read_leaves_the_device_without(script: object) -> None:
    async with ScriptedServer(script) as server:  # type: ignore[arg-type]
        heard = await deliver(server, FleetSpec(1, drops_before_answer=1.0), REPORT, REPORT)
        assert heard == [NoAnswer(DROPPED)] * 2
        assert len(server.asked) <= server.connections  # one may break before it is made, none is used again


async def test_a_connection_that_breaks_after_the_answer_is_not_used_again() -> None:
    async with ScriptedServer(lambda asked: counted()) as server:
        heard = await deliver(server, FleetSpec(1, drops_after_answer=1.0), REPORT, REPORT)
        assert heard == [ResultResponse(Status.OK, counted=True)] * 2
        assert server.connections == 2


async def test_the_ledger_holds_what_was_told_of_each_result_and_nothing_else(tmp_path: Path) -> None:
    refused = reply(b'{"status": "ERROR", "message": "norm"}')
    answers = iter([reply(b'{"status": "NO_JOB"}'), reply(b"", 503), counted(), refused])
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    async with ScriptedServer(lambda asked: next(answers)) as server:
        await deliver(server, FleetSpec(1), JOB, REPORT, REPORT, REPORT, ledger=ledger)
    told = Told("sim-000000", 0, "t1", "OK", counted=True)
    assert read(path) == [told, Told("sim-000000", 0, "t1", "ERROR", counted=False, message="norm")]
    ledger.close()


async def test_an_answer_that_was_not_read_is_not_in_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    async with ScriptedServer(lambda asked: counted()) as server:
        await deliver(server, FleetSpec(1, drops_before_answer=1.0), REPORT, ledger=ledger)
    assert read(tmp_path / "ledger") == []
    ledger.close()


async def test_the_ledger_holds_each_sending_of_a_result_before_its_answer(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    async with ScriptedServer(lambda asked: counted()) as server:
        await deliver(server, FleetSpec(1, duplicates=1.0), REPORT, ledger=ledger)
    lines = decode((tmp_path / "ledger").read_bytes())
    assert lines[0] == Sent("sim-000000", 0, "t1")
    assert [type(line) for line in lines].count(Sent) == 2
    ledger.close()


def test_a_ledger_is_gone_on_with(tmp_path: Path) -> None:
    for number in (1, 2):
        ledger = Ledger(tmp_path / "ledger")
        ledger.add(number, REPORT, ResultResponse(Status.OK, counted=True))
        ledger.close()
    assert [told.index for told in read(tmp_path / "ledger")] == [1, 2]
