"""Devices that send rubbish for ever: each time refused with the reason, while the others train the job to its end.

Gateway, dispatcher and job are the real ones, in one process; devices come over real HTTP.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.site import Site, site
from turnout.device import Arrays, SessionPolicy, Update, run_device
from turnout.device.exchange import from_http, to_http
from turnout.device.http import HttpClient, HttpLimits
from turnout.gateway.limits import GatewayLimits
from turnout.job.exits import EXIT_COMPLETED
from turnout.messages import (
    DeviceInfo,
    ModelSchema,
    ResultReport,
    TaskRequest,
    TaskResponse,
    TensorSpec,
)
from turnout.wire.edge_replies import HttpReply
from turnout.wire.edge_requests import HttpRequest
from turnout.wire.tensors import to_safetensors

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

JOB_TOML = """
name = "poisoned"
[training]
workflow = "buffered"
buffer_goal = 4
concurrency = 50
update_norm_max = 10.0
[pacing]
check_ins_per_s = 10000.0
wait_min_s = 0.01
[stop]
versions = 5
"""
MODEL_PY = """
import numpy as np
def initial_model():
    return {"w": np.zeros((2, 2), np.float32)}
"""
SCHEMA = ModelSchema((TensorSpec("w", (2, 2)),))
ONES = np.ones(4, np.float32)
GOOD_DEVICES = 4
ROUNDS_MAX = 5_000
TIMEOUT_S = 60.0
INLINE_BYTES = 20_000  #: More JSON than this is decoded in a worker process.


class Ones:
    """Learns that every number should be one higher."""

    def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
        return Update({"w": np.ones((2, 2), np.float32)}, 1.0)


@dataclass
class Poison:
    """What a device sends for its task, again and again, and a word of the reason that it is told."""

    make: Callable[[HttpRequest], HttpRequest]
    reason: str


def body(data: bytes) -> Callable[[HttpRequest], HttpRequest]:
    """The right result, but for its body."""
    return lambda right: HttpRequest(right.method, right.target, right.headers, data)


def vector(*numbers: float, shape: tuple[int, ...] = (2, 2)) -> Callable[[HttpRequest], HttpRequest]:
    schema = ModelSchema((TensorSpec("w", shape),))
    return body(to_safetensors(np.array(numbers, np.float32), schema))


def field(name: str, value: str) -> Callable[[HttpRequest], HttpRequest]:
    """The right result, but for one field of its query."""

    def make(right: HttpRequest) -> HttpRequest:
        path, _, query = right.target.partition("?")
        fields = [part for part in query.split("&") if not part.startswith(f"{name}=")]
        return HttpRequest(right.method, f"{path}?{'&'.join([*fields, f'{name}={value}'])}", right.headers, right.body)

    return make


def as_json(text: str) -> Callable[[HttpRequest], HttpRequest]:
    """A result in JSON whose weights are this text."""
    start = '{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": '

    def make(right: HttpRequest) -> HttpRequest:
        headers = tuple((name, value) for name, value in right.headers if name != "Content-Type")
        data = f'{start}{text}}}, "meta": {{}}}}}}'.encode()
        return HttpRequest(right.method, right.target, (*headers, ("Content-Type", "application/json")), data)

    return make


SAFE = to_safetensors(ONES, SCHEMA)
LARGE_LIST = json.dumps([0.5] * (INLINE_BYTES // 2))
POISONS = {
    "another shape": Poison(vector(1, 1, 1, 1, 1, 1, shape=(3, 2)), "[3, 2]"),
    "a transposed shape": Poison(vector(1, 1, 1, 1, shape=(4,)), "[4]"),
    "NaN": Poison(vector(1, float("nan"), 1, 1), "finite"),
    "infinity": Poison(vector(1, float("-inf"), 1, 1), "finite"),
    "the largest numbers": Poison(vector(3e38, 3e38, 3e38, 3e38), "norm"),
    "a norm above the bound": Poison(vector(6, 6, 6, 6), "norm"),
    "no bytes": Poison(body(b""), "safetensors"),
    "half a file": Poison(body(SAFE[:-3]), "safetensors"),
    "a header longer than the file": Poison(body(b"\xff" * 8 + SAFE[8:]), "safetensors"),
    "a header that is no JSON": Poison(body(SAFE[:8] + b"\xff" + SAFE[9:]), "safetensors"),
    "a header that is nested a thousand times": Poison(body((2000).to_bytes(8, "little") + b"[" * 2000), "safetensors"),
    "no examples": Poison(field("num_examples", "0"), "from 0 examples"),
    "fewer than no examples": Poison(field("num_examples", "-5"), "plain decimal number"),
    "endless examples": Poison(field("num_examples", "inf"), "plain decimal number"),
    "JSON that is nested without end": Poison(as_json("[" * 5000), "nested too deeply"),
    "JSON with a name that is not there": Poison(as_json('{"x": [[1, 1], [1, 1]]}'), "not of this model"),
    "JSON with text for a number": Poison(as_json('{"w": [[1, 1], [1, "1"]]}'), "text"),
    "JSON with a number that float32 has not": Poison(as_json('{"w": [[1, 1], [1, 1e39]]}'), "finite"),
    "much JSON of another shape": Poison(as_json(f'{{"w": {LARGE_LIST}}}'), "lists of length 2"),
    "a task of another": Poison(field("task_id", "AAAA"), "task"),
    "a failure": Poison(field("status", "ERROR"), "ERROR"),
}


class Poisoner:
    """One device that has a task and sends the same rubbish for it until the job is done."""

    def __init__(self, http: HttpClient, name: str) -> None:
        self.name = name
        self.told: Counter[str] = Counter()
        self._http = http
        self._device = DeviceInfo(f"poisonous-{list(POISONS).index(name)}")
        self._request: HttpRequest | None = None

    async def take_task(self) -> None:
        request = TaskRequest(self._device, "job-1", accept=("safetensors",))
        answer = from_http(request, await self._http.request(to_http(request, None)))
        assert isinstance(answer, TaskResponse)
        assert answer.task_id
        right = ResultReport(self._device, "job-1", answer.task_id, "train", memoryview(ONES.tobytes()))
        self._request = POISONS[self.name].make(to_http(right, SCHEMA))

    async def send(self) -> None:
        assert self._request is not None
        reply = await self._http.request(self._request)
        assert isinstance(reply, HttpReply)
        said = json.loads(reply.body)
        assert not said.get("counted"), self.name
        self.told[f"{reply.status} {said['status']}: {said['message']}"] += 1


async def test_poisonous_results_are_refused_for_ever_and_the_job_is_trained_by_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "job.toml").write_text(JOB_TOML)
    (folder / "model.py").write_text(MODEL_PY)
    async with site(folder, gateway_limits=GatewayLimits(inline_decode_bytes=INLINE_BYTES)) as running:
        await poison(running)


async def poison(running: Site) -> None:
    http = HttpClient(running.url, HttpLimits(connections_max=8))
    poisoners = [Poisoner(http, name) for name in POISONS]
    await asyncio.gather(*(poisoner.take_task() for poisoner in poisoners))
    for _ in range(3):
        await asyncio.gather(*(poisoner.send() for poisoner in poisoners))
    quick = SessionPolicy(backoff_base_s=0.01, backoff_max_s=0.02)
    async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
        good = [
            group.create_task(run_device(running.url, "poisoned", Ones(), device_id=f"good-{number}", policy=quick))
            for number in range(GOOD_DEVICES)
        ]
        for _ in range(ROUNDS_MAX):
            if running.job.ended.is_set():
                break
            await asyncio.gather(*(poisoner.send() for poisoner in poisoners))
    await http.close()

    assert running.job.exit_code == EXIT_COMPLETED
    assert running.job.core.version == 5
    assert running.job.core.model.tolist() == [5.0] * 4
    assert sum(device.result().counters.counted for device in good) == 5 * GOOD_DEVICES
    for poisoner in poisoners:
        assert len(poisoner.told) <= 2, poisoner.told  # the same each time, but for the job's end
        reason = max(poisoner.told, key=lambda said: poisoner.told[said])
        assert POISONS[poisoner.name].reason in reason, (poisoner.name, poisoner.told)
        assert "Traceback" not in reason
