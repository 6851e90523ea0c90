"""A fleet as a process of its own, against a server that answers by a script."""

import asyncio
import hashlib
import json
import os
import signal
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np
import pytest
import trustme

from tests.unit.device.scripted import Asked, ScriptedServer, reply
from turnout.device.counters import FleetCounters
from turnout.fleet.ledger import read
from turnout.fleet.process import for_people
from turnout.messages import ModelSchema, TensorSpec
from turnout.wire.tensors import from_safetensors, to_safetensors

pytestmark = pytest.mark.anyio

SCHEMA = ModelSchema((TensorSpec("w", (4,)),))
MODEL = to_safetensors(np.zeros(4, np.float32), SCHEMA)
SHA256 = hashlib.sha256(MODEL).hexdigest()
DEVICE = """
import numpy as np
from turnout.device import Update

class Marks:
    def __init__(self, index):
        self.index = index

    def train(self, model, config):
        return Update({"w": model["w"] + np.float32(self.index)}, 1.0)

def trainer(index, devices, seed):
    return Marks(index)
"""
RUN = """
import json, sys
from turnout.errors import TurnoutError
from turnout.fleet.process import FleetOptions, run_fleet
from turnout.fleet.spec import FleetSpec
url, trainers, spec, options = sys.argv[1:]
spec, options = FleetSpec(**json.loads(spec)), FleetOptions(workers=1, **json.loads(options))
try:
    run_fleet(url, "digits", spec, trainers or None, options)
except TurnoutError as error:
    sys.exit(f"turnout: {error}")
"""


class Gateway:
    """Gives each device one task at a time and counts its result, until the job is over."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.results: dict[str, float] = {}
        self.gave_back: set[str] = set()
        self.over = False
        self.trained = asyncio.Event()

    def __call__(self, asked: Asked) -> bytes:
        path = urlsplit(asked.target).path.split("/")[1]
        if asked.method == "GET" and path == "job":
            return reply(b"", 405)
        self.asked[path] += 1
        if path == "blob":
            return reply(MODEL)
        device = asked.headers["x-flare-device-id"]
        return reply(json.dumps(self.answer(path, device, asked)).encode())

    def answer(self, path: str, device: str, asked: Asked) -> dict[str, object]:
        if self.over:
            return {"status": "NO_JOB", "retry_wait": 0}
        if path == "job":
            return {"status": "OK", "job_id": "j1"}
        if path == "task":
            meta: dict[str, object] = {"href": "", "bytes": len(MODEL), "sha256": SHA256, "meta": {}}
            task = {"job_id": "j1", "task_id": f"task-of-{device}", "task_name": "train", "task_data": meta}
            return {"status": "OK", "lease_s": 60.0, **task}
        query = parse_qs(urlsplit(asked.target).query)
        assert query["task_id"] == [f"task-of-{device}"]
        if query.get("status") == ["NO_EXAMPLES"]:
            self.gave_back.add(device)
            return {"status": "NO_TASK", "counted": False}
        self.results[device] = float(from_safetensors(asked.body, SCHEMA)[0])
        self.trained.set()
        return {"status": "OK", "counted": True}


class Process:
    """A running fleet."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def end(self) -> tuple[int, FleetCounters, str]:
        """Exit code, last counters and stderr."""
        out, err = await self.process.communicate()
        assert self.process.returncode is not None
        lines = out.splitlines()
        last = msgspec.json.decode(lines[-1], type=FleetCounters) if lines else FleetCounters(0)
        return self.process.returncode, last, err.decode()


async def start(
    url: str,
    folder: Path | str,
    spec: dict[str, object],
    pass_fds: tuple[int, ...] = (),
    interpreter: tuple[str, ...] = (sys.executable,),
    **options: object,
) -> Process:
    spec = {"start_s": 0.0, "training_s": 0.0, **spec}
    return Process(
        await asyncio.create_subprocess_exec(
            *interpreter, "-c", RUN, url, str(folder), json.dumps(spec), json.dumps({"json_lines": True, **options}),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, pass_fds=pass_fds,
        )
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "device.py").write_text(DEVICE)
    return tmp_path


@pytest.fixture
async def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def url(gateway: Gateway) -> AsyncIterator[str]:
    async with ScriptedServer(gateway) as server:
        yield server.url


async def test_every_device_trains_on_its_own_and_reports_as_itself(gateway: Gateway, url: str, folder: Path) -> None:
    fleet = await start(url, folder, {"devices": 40, "each_once": True}, connections_max=7)
    code, last, err = await fleet.end()
    assert (code, err) == (0, "")
    assert gateway.results == {f"sim-{index:06d}": float(index) for index in range(40)}
    assert gateway.asked == {"job": 40, "task": 40, "result": 40, "blob": 1}
    assert (last.ended, last.counted, last.tasks, last.connections) == (40, 40, 40, 7)
    assert last.requests == {"job": 40, "task": 40, "result": 40}
    assert last.finished == "all devices have ended"


@pytest.mark.parametrize("interpreter", [(sys.executable,), (sys.executable, "-O")])
async def test_devices_without_examples_sit_out_and_are_counted(
    gateway: Gateway, url: str, tmp_path: Path, interpreter: tuple[str, ...]
) -> None:
    (tmp_path / "device.py").write_text(DEVICE.replace("1.0)", "float(self.index % 2))"))
    fleet = await start(url, tmp_path, {"devices": 10, "each_once": True}, interpreter=interpreter)
    code, last, err = await fleet.end()
    assert (code, err) == (0, "")
    assert gateway.results == {f"sim-{index:06d}": float(index) for index in range(1, 10, 2)}
    assert gateway.gave_back == {f"sim-{index:06d}" for index in range(0, 10, 2)}
    assert (last.ended, last.counted, last.sat_out, last.trainings_failed) == (10, 5, 5, {})


async def test_a_fleet_without_any_examples_ends_and_says_so(url: str, tmp_path: Path) -> None:
    (tmp_path / "device.py").write_text(DEVICE.replace("1.0)", "0)"))
    code, _, err = await (await start(url, tmp_path, {"devices": 3})).end()
    assert (code, err) == (1, "turnout: none of the 3 devices has any examples, so nobody can train\n")


async def test_without_trainers_every_device_reports_zeros_of_one_model_that_was_fetched(
    gateway: Gateway, url: str
) -> None:
    code, last, err = await (await start(url, "", {"devices": 40, "each_once": True})).end()
    assert (code, err) == (0, "")
    assert gateway.results == {f"sim-{index:06d}": 0.0 for index in range(40)}
    assert gateway.asked == {"job": 40, "task": 40, "result": 40, "blob": 1}
    assert last.counted == 40


async def test_devices_with_connections_of_their_own_share_none(gateway: Gateway) -> None:
    async with ScriptedServer(gateway) as server:
        spec = {"devices": 9, "each_once": True, "at_once": 2}
        code, last, err = await (await start(server.url, "", spec, own_connections=True)).end()
        assert (code, err) == (0, "")
        assert (last.counted, last.connections) == (9, 0)
        assert server.connections == 9 + len(("the model's",))


async def test_a_fleet_up_to_mischief_says_what_it_did(
    gateway: Gateway, url: str, folder: Path, tmp_path: Path
) -> None:
    spec = {"devices": 5, "each_once": True, "duplicates": 1.0, "drops_after_answer": 1.0}
    code, last, err = await (await start(url, folder, {**spec, "ledger": str(tmp_path / "ledger")})).end()
    assert (code, err) == (0, "")
    assert last.mischief == {"duplicates": 5, "drops_after_answer": 20}
    assert {told.index for told in read(tmp_path / "ledger")} == set(range(5))


async def test_a_ledger_that_cannot_be_written_is_said_before_any_request(
    gateway: Gateway, url: str, folder: Path
) -> None:
    code, _, err = await (await start(url, folder, {"devices": 1, "ledger": "/no/such/ledger"})).end()
    assert (code, err) == (1, "turnout: the ledger /no/such/ledger cannot be written: No such file or directory\n")
    assert not gateway.asked


async def test_a_fleet_ends_when_its_job_is_over(gateway: Gateway, url: str, folder: Path) -> None:
    fleet = await start(url, folder, {"devices": 3, "training_s": 0.05}, job_over_s=0.2)
    await gateway.trained.wait()
    gateway.over = True
    code, last, _ = await fleet.end()
    assert (code, last.finished) == (0, "the job is over")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_fleet_that_is_told_to_stop_says_so(
    gateway: Gateway, url: str, folder: Path, number: signal.Signals
) -> None:
    fleet = await start(url, folder, {"devices": 3, "training_s": 0.05})
    await gateway.trained.wait()
    fleet.process.send_signal(number)
    code, last, err = await fleet.end()
    assert (code, last.finished, err) == (0, f"stopped by {number.name}", "")


async def test_a_fleet_ends_with_the_process_that_started_it(gateway: Gateway, url: str, folder: Path) -> None:
    lifeline, ours = os.pipe()
    fleet = await start(url, folder, {"devices": 3, "training_s": 0.05}, pass_fds=(lifeline,), lifeline_fd=lifeline)
    os.close(lifeline)
    await gateway.trained.wait()
    os.close(ours)
    code, last, _ = await fleet.end()
    assert (code, last.finished) == (0, "the process that started it has ended")


async def test_a_fleet_with_nothing_to_talk_to_ends_at_once_and_says_how_to_start_it(folder: Path) -> None:
    code, _, err = await (await start("http://127.0.0.1:1", folder, {"devices": 2})).end()
    assert (code, err) == (1, "turnout: nothing answers at http://127.0.0.1:1; start a server with: turnout up\n")


async def test_a_fleet_that_is_sent_to_another_server_ends_at_once_and_says_where_devices_go(folder: Path) -> None:
    async with ScriptedServer(lambda asked: reply(b"", 404)) as api:
        code, _, err = await (await start(api.url, folder, {"devices": 2})).end()
    assert code == 1
    assert f"{api.url} knows nothing of devices (HTTP 404 for /job); is that the API?" in err
    assert len(api.asked) == 1


async def test_a_fleet_is_patient_with_a_server_that_answers_but_is_busy(folder: Path) -> None:
    async with ScriptedServer(lambda asked: reply(b"", 503)) as busy:
        code, _, err = await (await start(busy.url, folder, {"devices": 2}, patience_s=0.2)).end()
    assert code == 1
    assert "has not answered for 0.2 s (HTTP 503); give the address for devices" in err


async def test_a_fleet_that_does_not_trust_its_server_is_told_how_it_may(folder: Path) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(served)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=served)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    code, _, err = await (await start(url, folder, {"devices": 2})).end()
    assert code == 1
    assert "is not trusted" in err
    assert err.endswith("name the authority's file (--ca)\n")
    server.close()
    await server.wait_closed()


async def test_a_fleet_that_finds_no_job_says_so(gateway: Gateway, url: str, folder: Path) -> None:
    gateway.over = True
    code, last, err = await (await start(url, folder, {"devices": 2}, patience_s=1.5)).end()
    assert last.missing == "digits"
    assert (code, err) == (1, "turnout: no job named 'digits' has run for 1.5 s; turnout jobs lists them\n")


async def test_a_fleet_whose_trainers_are_not_there_says_so_before_any_request(gateway: Gateway, url: str) -> None:
    code, _, err = await (await start(url, Path("/no/such/folder"), {"devices": 2})).end()
    assert code == 1
    assert "/no/such/folder is neither a job folder nor a module" in err
    assert not gateway.asked


def test_counters_for_people_say_what_there_is_to_say() -> None:
    counters = FleetCounters(
        devices=10, training=3, waiting=5, lost=2, counted=70, refused={"NO_TASK: late": 2, "ERROR: norm": 1},
        requests_per_s=123.4, latency_p99_ms=7.8, elapsed_s=12.3, finished="stopped by SIGINT",
    )  # fmt: skip
    assert for_people(counters) == [
        "   12.3 s · 3 training · 5 waiting · 2 lost · 70 counted · 3 refused (NO_TASK: late) · "
        "123 requests/s, p99 8 ms",
        "fleet: stopped by SIGINT",
    ]


def test_counters_for_people_name_the_job_that_nobody_runs() -> None:
    (line,) = for_people(FleetCounters(devices=2, waiting=2, missing="digts"))
    assert "2 waiting · 0 counted · no job named 'digts' runs" in line
