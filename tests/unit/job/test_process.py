"""The job's process around its core: requests in as bytes, answers out, files on disk."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest

from turnout.blobs.folder import BlobStore
from turnout.client.view import JobState
from turnout.job.exits import EXIT_CANCELLED, EXIT_COMPLETED
from turnout.job.folder.directory import FINAL
from turnout.job.folder.folder import load_job_folder
from turnout.job.journal.journal import Snapshot
from turnout.job.journal.memory import MemoryJournal
from turnout.job.process import JobProcess
from turnout.messages import (
    DeviceInfo,
    JobStatus,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    SelectionResponse,
    Status,
    TaskRequest,
    TaskResponse,
    Topic,
)
from turnout.transport.connection import hand_over
from turnout.wire.tensors import from_safetensors

pytestmark = pytest.mark.anyio
T = TypeVar("T")

JOB_TOML = """
name = "tiny"
[training]
workflow = "buffered"
buffer_goal = 2
concurrency = 10
[stop]
versions = 2
"""
MODEL_PY = """
import numpy as np
def initial_model():
    return {"w": np.zeros(3, np.float32)}
"""
SERVER_PY = """
def evaluate(model):
    return {"sum": float(model["w"].sum())}
"""


class Answer:
    """A Reply that keeps what it was told."""

    def __init__(self) -> None:
        self.payload: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def __call__(self, payload: bytes) -> None:
        self.payload.set_result(payload)

    def fail(self, reason: str) -> None:
        self.payload.set_exception(RuntimeError(reason))


class FailsOnce(MemoryJournal):
    """A journal whose disk is full once, after the first commit: for any commit, or for one that closes a version."""

    def __init__(self, closing: bool = False) -> None:
        super().__init__()
        self._closing = closing
        self._failed = False

    def commit(self, snapshot: Snapshot) -> None:
        if snapshot.commit > 1 and not self._failed and (snapshot.version == 1 or not self._closing):
            self._failed = True
            raise OSError(28, "No space left on device")
        super().commit(snapshot)


def write_folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in {"job.toml": JOB_TOML, "model.py": MODEL_PY, **files}.items():
        (path / name).write_text(text)
    return path


def make_process(folder: Path, journal: MemoryJournal | None = None) -> JobProcess:
    blobs = BlobStore(folder.parent / "data" / "blobs")
    return JobProcess(load_job_folder(folder), "job-1", blobs, journal or MemoryJournal())


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[JobProcess]:
    made = make_process(write_folder(tmp_path / "folder"))
    made.shell.start()
    yield made
    await made.close()


async def ask(process: JobProcess, topic: Topic, request: Any, answer: type[T]) -> T:
    reply = Answer()
    payload = request if isinstance(request, bytes) else msgspec.msgpack.encode(request)
    hand_over(process.shell, topic, memoryview(payload), reply)
    async with asyncio.timeout(5):
        return msgspec.msgpack.decode(await reply.payload, type=answer)


async def ask_task(process: JobProcess, device: str) -> TaskResponse:
    return await ask(process, Topic.TASK, TaskRequest(DeviceInfo(device), "job-1"), TaskResponse)


async def report(process: JobProcess, device: str, task: TaskResponse, value: float) -> ResultResponse:
    update = memoryview(np.full(3, value, dtype="<f4").tobytes())
    result = ResultReport(DeviceInfo(device), "job-1", task.task_id or "", "train", update)
    return await ask(process, Topic.RESULT, result, ResultResponse)


async def make_version(process: JobProcess, first: str, second: str, value: float) -> None:
    tasks = [await ask_task(process, device) for device in (first, second)]
    answers = await asyncio.gather(*(report(process, d, t, value) for d, t in zip((first, second), tasks, strict=True)))
    assert all(answer.counted for answer in answers)


async def test_a_task_names_a_blob_that_lies_in_the_folder(process: JobProcess, tmp_path: Path) -> None:
    task = await ask_task(process, "a")
    assert task.task_data is not None
    blob = (tmp_path / "data" / "blobs" / f"{task.task_data.sha256}.safetensors").read_bytes()
    assert len(blob) == task.task_data.bytes
    assert from_safetensors(blob, process.shell.schema).tolist() == [0.0, 0.0, 0.0]


async def test_results_make_versions_until_the_job_is_completed(process: JobProcess, tmp_path: Path) -> None:
    await make_version(process, "a", "b", 1.0)
    task = await ask_task(process, "a")
    assert task.task_data is not None
    assert task.task_data.meta["model_version"] == 1
    await report_two_more(process, task)
    await asyncio.wait_for(process.ended.wait(), 5)
    assert process.exit_code == EXIT_COMPLETED
    final = msgspec.json.decode((tmp_path / "data" / FINAL).read_bytes(), type=JobStatus)
    assert (final.state, final.version, final.counted) == (JobState.COMPLETED, 2, 4), "what control reads"
    blob = (tmp_path / "data" / "blobs" / f"{final.model_sha256}.safetensors").read_bytes()
    assert from_safetensors(blob, process.shell.schema).tolist() == [3.0, 3.0, 3.0]


async def report_two_more(process: JobProcess, task: TaskResponse) -> None:
    other = await ask_task(process, "b")
    await asyncio.gather(report(process, "a", task, 2.0), report(process, "b", other, 2.0))


async def test_the_status_says_what_the_job_waits_for(process: JobProcess) -> None:
    await report(process, "a", await ask_task(process, "a"), 1.0)
    status = await ask(process, Topic.STATUS, b"", JobStatus)
    assert status.waiting_for == "1 of 2 updates for version 1; 0 tasks are out"
    assert (status.counted, status.journal, status.state) == (1, "memory", "OPEN")
    assert min(status.ack_ms["p50"], status.commit_ms["p50"]) > 0


async def test_a_person_stops_the_job_and_the_reason_is_kept(process: JobProcess, tmp_path: Path) -> None:
    hand_over(process.shell, Topic.CANCEL, memoryview(b"wrong data"), Answer())
    await asyncio.wait_for(process.ended.wait(), 5)
    assert process.exit_code == EXIT_CANCELLED
    final = msgspec.json.decode((tmp_path / "data" / FINAL).read_bytes(), type=JobStatus)
    assert (final.state, final.finished) == (JobState.CANCELLED, "wrong data")


async def test_a_person_pauses_the_job_and_lets_it_go_on(process: JobProcess) -> None:
    await ask_task(process, "a")
    hand_over(process.shell, Topic.PAUSE, memoryview(b""), Answer())
    assert (await ask_task(process, "b")).status is Status.RETRY
    assert (await ask(process, Topic.STATUS, b"", JobStatus)).state == "PAUSED"
    hand_over(process.shell, Topic.RESUME, memoryview(b""), Answer())
    assert (await ask_task(process, "b")).status is Status.OK


async def test_the_selection_is_open_while_places_are_free(process: JobProcess) -> None:
    request = SelectionRequest(DeviceInfo("simulator"), "job-1")
    await ask_task(process, "a")
    answer = await ask(process, Topic.SELECTION, request, SelectionResponse)
    assert answer.selection == {"*": 1}


async def test_bytes_that_are_no_request_are_failed_alone(process: JobProcess) -> None:
    for topic in (Topic.TASK, Topic.RESULT, Topic.OFFER, Topic.SELECTION):
        with pytest.raises(RuntimeError, match="Error"):
            await ask(process, topic, b"\xc1", ResultResponse)
    assert (await ask_task(process, "a")).status is Status.OK


async def test_an_update_that_is_no_row_of_floats_is_refused_and_the_job_lives(process: JobProcess) -> None:
    task = await ask_task(process, "a")
    result = ResultReport(DeviceInfo("a"), "job-1", task.task_id or "", "train", memoryview(b"\x00" * 13))
    answer = await ask(process, Topic.RESULT, result, ResultResponse)
    assert (answer.status, answer.message) == (Status.ERROR, "the update has 13 bytes; whole floats are")
    await make_version(process, "b", "c", 1.0)


async def test_a_full_disk_acknowledges_nobody_and_the_result_counts_when_sent_again(tmp_path: Path) -> None:
    process = make_process(write_folder(tmp_path / "folder"), FailsOnce())
    process.shell.start()
    task = await ask_task(process, "a")
    first = await report(process, "a", task, 1.0)
    assert (first.status, first.counted) == (Status.RETRY, False)
    again = await report(process, "a", task, 1.0)
    assert (again.counted, again.duplicate) == (True, False)
    await process.close()


async def test_the_model_is_evaluated_in_a_process_of_its_own(tmp_path: Path) -> None:
    process = make_process(write_folder(tmp_path / "folder", **{"server.py": SERVER_PY}))
    process.shell.start()
    await make_version(process, "a", "b", 1.0)
    await make_version(process, "c", "d", 1.0)
    await asyncio.wait_for(process.ended.wait(), 30)
    status = process.shell.status()
    assert (status.metrics, status.metrics_version) == ({"sum": 6.0}, 2)
    await process.close()


async def test_an_evaluation_that_fails_is_a_warning(tmp_path: Path) -> None:
    code = "def evaluate(model):\n    raise ValueError('no data')\n"
    process = make_process(write_folder(tmp_path / "folder", **{"server.py": code}))
    process.shell.start()
    await make_version(process, "a", "b", 1.0)
    await make_version(process, "c", "d", 1.0)
    await asyncio.wait_for(process.ended.wait(), 30)
    assert any("no data" in warning for warning in process.shell.status().warnings)
    assert process.exit_code == EXIT_COMPLETED
    await process.close()


async def test_the_blob_of_a_version_whose_commit_failed_is_not_taken_for_the_next_try(tmp_path: Path) -> None:
    process = make_process(write_folder(tmp_path / "folder"), FailsOnce(closing=True))
    process.shell.start()
    tasks = {device: await ask_task(process, device) for device in "abcd"}
    await report(process, "a", tasks["a"], 1.0)
    lost = await report(process, "b", tasks["b"], 1.0)
    assert lost.status is Status.RETRY, "its commit would have closed the version"
    assert (await report(process, "c", tasks["c"], 5.0)).counted
    task = await ask_task(process, "e")
    assert task.task_data is not None
    assert task.task_data.meta["model_version"] == 1
    blob = (tmp_path / "data" / "blobs" / f"{task.task_data.sha256}.safetensors").read_bytes()
    assert from_safetensors(blob, process.shell.schema).tolist() == [3.0, 3.0, 3.0]
    await process.close()


async def test_the_file_of_the_best_model_stays_also_when_the_process_is_replaced(tmp_path: Path) -> None:
    """Version 0 has the least sum; later ones are worse, and only the newest of them is kept."""
    ranked = JOB_TOML.replace("versions = 2", "versions = 9") + '[evaluation]\nmetric = "sum"\ngoal = "min"\n'
    folder = write_folder(tmp_path / "folder", **{"job.toml": ranked, "server.py": SERVER_PY})
    journal = MemoryJournal()
    process = make_process(folder, journal)
    process.shell.start()
    await measured(process, 0)
    for number in range(3):
        await make_version(process, f"a{number}", f"b{number}", 1.0)
        await measured(process, number + 1)
    await process.close()
    again = make_process(folder, journal.take_over())
    again.shell.start()
    await make_version(again, "a", "b", 1.0)
    status = again.shell.status()
    await again.close()
    assert (status.best_version, status.best_metric) == (0, 0.0)
    assert [kept.version for kept in status.kept] == [0, 4]
    blobs = BlobStore(tmp_path / "data" / "blobs")
    assert all(blobs.path(kept.sha256).exists() for kept in status.kept)


async def measured(process: JobProcess, version: int) -> None:
    """Returns once the job has heard what the evaluation of ``version`` said."""
    async with asyncio.timeout(20):
        while True:
            status = process.shell.status()
            if status.metrics and status.metrics_version >= version:
                return
            await asyncio.sleep(0)
