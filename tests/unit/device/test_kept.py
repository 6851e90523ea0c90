"""A result that nobody has acknowledged outlives its device's process, and is sent again by the next."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.device.scripted import Asked, ScriptedServer
from tests.unit.device.test_client import QUICK, TASK, Gateway, Steps, paths
from turnout.device import run_device
from turnout.device.kept import KeptFile
from turnout.device.session import Saved
from turnout.errors import TurnoutError
from turnout.messages import DeviceInfo, ModelSchema, ResultReport, TensorSpec

pytestmark = pytest.mark.anyio

SCHEMA = ModelSchema((TensorSpec("w", (2,)), TensorSpec("b", ())))
UPDATE = np.array([0.5, -1.0, 3.0], "<f4").view("u1").data
REPORT = ResultReport(DeviceInfo("a3f"), "j1", "t1", "train", UPDATE, 4.0, {"loss": 0.25}, cookie={"n": 1})
SLOW = replace(QUICK, backoff_base_s=3600.0, backoff_max_s=3600.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "result"


@pytest.fixture
def rubbish(path: Path) -> Path:
    path.write_bytes(b"rubbish")
    return path


async def interrupted(gateway: Gateway, keep: Path) -> list[Asked]:
    """Run a device until it has sent a result, then end it as an app is ended."""
    sent = asyncio.Event()

    def script(asked: Asked) -> bytes | None:
        if asked.target.startswith("/result"):
            assert keep.exists(), "before it is sent"
            sent.set()
        return gateway(asked)

    async with ScriptedServer(script) as server:
        device = asyncio.create_task(run_device(server.url, "digits", Steps(), device_id="a3f", policy=SLOW, keep=keep))
        await sent.wait()
        device.cancel()
        with pytest.raises(asyncio.CancelledError):
            await device
        return server.asked


async def test_a_device_that_ended_without_an_answer_begins_with_its_result(path: Path) -> None:
    (first,) = [one for one in await interrupted(Gateway(result=[None]), path) if one.target.startswith("/result")]
    gateway = Gateway(task=[{"status": "DONE"}])
    trains_no_more = Steps(failures=100)
    async with ScriptedServer(gateway) as server:
        finished = await run_device(server.url, "digits", trains_no_more, device_id="a3f", policy=QUICK, keep=path)
    assert paths(server.asked) == ["result", "task"]
    assert (server.asked[0].target, server.asked[0].body) == (first.target, first.body)
    assert finished.counters.counted == 1
    assert list(path.parent.iterdir()) == [], "nothing is left when it has its answer"


async def test_a_result_with_its_answer_is_not_kept(path: Path) -> None:
    seen = []

    def script(asked: Asked) -> bytes | None:
        if asked.target.startswith("/task"):
            seen.append(path.exists())
        return gateway(asked)

    gateway = Gateway(task=[TASK, TASK, {"status": "DONE"}])
    async with ScriptedServer(script) as server:
        await run_device(server.url, "digits", Steps(), device_id="a3f", policy=QUICK, keep=path)
    assert seen == [False, False, False]


async def test_a_file_that_cannot_be_read_is_no_reason_not_to_train(rubbish: Path) -> None:
    async with ScriptedServer(Gateway()) as server:
        finished = await run_device(server.url, "digits", Steps(), device_id="a3f", policy=QUICK, keep=rubbish)
    assert finished.counters.counted == 1
    assert list(rubbish.parent.iterdir()) == []


async def test_a_disk_that_does_not_take_it_is_none_either(path: Path) -> None:
    async with ScriptedServer(Gateway()) as server:
        nowhere = path / "nowhere"
        finished = await run_device(server.url, "digits", Steps(), device_id="a3f", policy=QUICK, keep=nowhere)
    assert finished.counters.counted == 1


# --- the file -----------------------------------------------------------------------------------------------------


def test_a_kept_result_comes_back_as_it_was(path: Path) -> None:
    file = KeptFile(path, "a3f")
    assert file.read() is None
    file.write(Saved(REPORT, 90.0), SCHEMA)
    found = file.read()
    assert found is not None
    assert (found.saved, found.schema) == (Saved(REPORT, 90.0), SCHEMA)
    assert path.stat().st_mode & 0o777 == 0o600
    file.remove()
    assert file.read() is None
    file.remove()


def test_the_result_of_another_device_is_refused(path: Path) -> None:
    KeptFile(path, "a3f").write(Saved(REPORT, 90.0), SCHEMA)
    with pytest.raises(TurnoutError, match="keeps a result of device a3f: give each device a file of its own"):
        KeptFile(path, "b4f").read()


def test_no_byte_of_an_update_can_change_unseen(path: Path) -> None:
    file = KeptFile(path, "a3f")
    file.write(Saved(REPORT, 90.0), SCHEMA)
    whole = path.read_bytes()
    begin = whole.index(bytes(UPDATE))
    for at in range(begin, begin + len(UPDATE)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert file.read() is None
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert file.read() is None


def test_an_update_that_does_not_fit_its_model_is_not_sent(path: Path) -> None:
    file = KeptFile(path, "a3f")
    file.write(Saved(REPORT, 90.0), ModelSchema((TensorSpec("w", (2,)),)))
    assert file.read() is None
