"""One device over HTTP, against a scripted server."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.unit.device.scripted import Asked, ScriptedServer, reply
from turnout.device import Arrays, SessionPolicy, Update, run_device
from turnout.errors import TurnoutError
from turnout.messages import ModelSchema, TensorSpec
from turnout.wire.tensors import from_safetensors, to_safetensors

pytestmark = pytest.mark.anyio

SCHEMA = ModelSchema((TensorSpec("w", (2,)),))
MODEL = to_safetensors(np.array([1, 2], dtype=np.float32), SCHEMA)
SHA256 = hashlib.sha256(MODEL).hexdigest()
QUICK = SessionPolicy(backoff_base_s=0.001, backoff_max_s=0.002)
TASK = {
    "status": "OK",
    "job_id": "j1",
    "task_id": "t1",
    "task_name": "train",
    "lease_s": 60.0,
    "task_data": {
        "kind": "model_ref",
        "format": "safetensors",
        "href": f"/blob/j1/{SHA256}",
        "bytes": len(MODEL),
        "sha256": SHA256,
        "meta": {"step": 0.5},
    },
}


class Steps:
    """Adds ``step`` to each number; fails at first as often as it was told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures

    def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("no battery")
        return Update({"w": np.full(2, config["step"], np.float32)}, 4, {"loss": 0.25})


class Gateway:
    """Answers each path by its list, the last answer again and again; ends the job after one counted result."""

    def __init__(self, **answers: list[dict[str, Any] | bytes | None]) -> None:
        self.answers: dict[str, list[dict[str, Any] | bytes | None]] = {
            "job": [{"status": "OK", "job_id": "j1"}],
            "task": [TASK, {"status": "DONE"}],
            "result": [{"status": "OK", "counted": True, "task_id": "t1"}],
            "blob": [reply(MODEL)],
            **answers,
        }

    def __call__(self, asked: Asked) -> bytes | None:
        answers = self.answers[asked.target.split("?")[0].split("/")[1]]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return reply(json.dumps(answer).encode()) if isinstance(answer, dict) else answer


async def play(gateway: Gateway, trainer: Steps | None = None) -> tuple[Any, list[Asked]]:
    async with ScriptedServer(gateway) as server:
        finished = await run_device(server.url, "digits", trainer or Steps(), device_id="a3f", policy=QUICK)
        return finished, server.asked


def paths(asked: list[Asked]) -> list[str]:
    return [one.target.split("?")[0].split("/")[1] for one in asked]


async def test_a_device_trains_reports_and_ends_with_its_job() -> None:
    finished, asked = await play(Gateway())
    assert finished.reason == "the job is done"
    assert finished.counters.counted == 1
    assert paths(asked) == ["job", "task", "blob", "result", "task"]
    assert all(one.headers["x-flare-device-id"] == "a3f" for one in asked if one.method == "POST")
    result = asked[3]
    assert "num_examples=4.0" in result.target
    assert from_safetensors(result.body, SCHEMA).tolist() == [0.5, 0.5]


async def test_a_result_without_an_answer_is_sent_again_as_it_was() -> None:
    busy = reply(b'{"status":"RETRY"}', 503)
    counted = {"status": "OK", "counted": True, "duplicate": True}
    finished, asked = await play(Gateway(result=[None, busy, {"status": "RETRY"}, counted]))
    results = [one for one in asked if one.target.startswith("/result")]
    assert len({(one.target, one.body) for one in results}) == 1
    assert len(results) >= 4
    assert (finished.counters.counted, finished.counters.duplicates) == (1, 1)
    assert finished.counters.unanswered["HTTP 503"] == 1


async def test_a_training_that_fails_is_reported_as_such_and_the_device_asks_again() -> None:
    answers = [{"status": "ERROR", "counted": False, "task_id": "t1"}, {"status": "OK", "counted": True}]
    finished, asked = await play(Gateway(task=[TASK, TASK, {"status": "DONE"}], result=answers), Steps(failures=1))
    assert paths(asked) == ["job", "task", "blob", "result", "task", "result", "task"]
    assert ("status=ERROR" in asked[3].target, asked[3].body) == (True, b"")
    assert finished.counters.trainings_failed == {"RuntimeError: no battery": 1}
    assert finished.counters.counted == 1


async def test_a_model_that_cannot_be_had_is_a_training_that_failed() -> None:
    finished, _ = await play(Gateway(task=[TASK, TASK, {"status": "DONE"}], blob=[reply(b"", 404), reply(MODEL)]))
    assert finished.counters.trainings_failed == {"no model": 1}
    assert finished.counters.counted == 1


async def test_a_request_that_is_not_understood_ends_the_device_with_the_reason() -> None:
    problem = reply(b'{"status":"INVALID_REQUEST","message":"unknown path"}', 404)
    finished, _ = await play(Gateway(job=[problem]))
    assert finished.reason == "not understood by the server: unknown path (HTTP 404)"


@pytest.mark.parametrize("device_id", ["", "a?3", "a b", "a\r\nX: y", "é", "x" * 129])
async def test_an_id_that_no_device_can_have_is_refused_at_once(device_id: str) -> None:
    with pytest.raises(TurnoutError, match="X-Flare-Device-ID"):
        await run_device("http://127.0.0.1:1", "digits", Steps(), device_id=device_id)


@pytest.mark.parametrize("device_id", ["cam-2\n", " cam-3", "cam-4\t"])
async def test_an_id_is_sent_as_it_was_checked_or_refused_by_name(device_id: str) -> None:
    with pytest.raises(TurnoutError, match=r"device_id .* has spaces or line ends around it"):
        await run_device("http://127.0.0.1:1", "digits", Steps(), device_id=device_id)


@pytest.mark.parametrize("job_name", ["digits\n", " digits", "", "a\nb", "x" * 129])
async def test_a_name_that_no_job_can_have_is_refused_before_it_is_asked_for(job_name: str) -> None:
    with pytest.raises(TurnoutError, match="the job's name"):
        await run_device("http://127.0.0.1:1", job_name, Steps(), device_id="cam-1")


async def test_a_device_can_be_cancelled_while_it_waits() -> None:
    gateway = Gateway(task=[{"status": "RETRY", "retry_wait": 3600}])
    told_to_wait = asyncio.Event()

    def script(asked: Asked) -> bytes | None:
        if asked.target.startswith("/task"):
            told_to_wait.set()
        return gateway(asked)

    async with ScriptedServer(script) as server:
        device = asyncio.ensure_future(run_device(server.url, "digits", Steps(), device_id="a3f"))
        await told_to_wait.wait()
        device.cancel()
        with pytest.raises(asyncio.CancelledError):
            await device
