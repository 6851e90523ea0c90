"""The exported files of a job's models: made in a process of their own, the newest first, and again after a failure."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from turnout.blobs.base import BlobRef
from turnout.blobs.folder import BlobStore
from turnout.job.hooks.exports import Exports
from turnout.job.hooks.runner import HookRunner
from turnout.messages import ModelSchema, TensorSpec
from turnout.wire.tensors import to_safetensors

pytestmark = pytest.mark.anyio

SCHEMA = ModelSchema((TensorSpec("w", ()),))
PATIENCE_S = 20.0
#: Packs the one number; fails once for each line of the file "failures", and notes in "calls" that it was called.
SERVER_PY = """
import struct
from pathlib import Path

HERE = Path(__file__).parent

def export(model):
    number = float(model["w"])
    with (HERE / "calls").open("a") as calls:
        calls.write(f"{number:g}\\n")
    failures = HERE / "failures"
    if failures.exists():
        lines = failures.read_text().splitlines()
        if lines:
            failures.write_text("\\n".join(lines[1:]))
            raise ValueError(lines[0])
    return b"PTE" + struct.pack("<f", number)
"""


class Told(BlobStore):
    """Blobs that say which export was written; to the loop, from whichever thread."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def put_export(self, sha256: str, data: bytes, allow: Callable[[int], None]) -> None:
        super().put_export(sha256, data, allow)
        self._loop.call_soon_threadsafe(self.written.put_nowait, sha256)


class Bench:
    """An Exports over a folder, with what it told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "server.py").write_text(SERVER_PY)
        self.blobs = Told(path / "blobs")
        self.warned: asyncio.Queue[str] = asyncio.Queue()
        self.disk_full = False
        self.runner = HookRunner(path / "server.py")
        self.exports = self.again()

    def again(self) -> Exports:
        """Another one, as the next process would have it."""
        return Exports(self.runner, self.blobs, self._allow, self.warned.put_nowait, retry_min_s=0.01)

    def _allow(self, num_bytes: int) -> None:
        if self.disk_full:
            self.disk_full = False
            raise OSError("the disk is full")

    def model(self, number: float) -> BlobRef:
        return self.blobs.put(to_safetensors(np.array([number], np.float32), SCHEMA))

    async def written(self) -> str:
        return await asyncio.wait_for(self.blobs.written.get(), PATIENCE_S)

    async def warning(self) -> str:
        return await asyncio.wait_for(self.warned.get(), PATIENCE_S)

    def exported(self, ref: BlobRef) -> bytes:
        return self.blobs.path(ref.sha256).with_suffix(".pte").read_bytes()

    def calls(self) -> list[str]:
        return (self.path / "calls").read_text().splitlines()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    await made.exports.close()
    await made.runner.close()


async def test_the_hook_makes_the_file_of_a_model(bench: Bench) -> None:
    ref = bench.model(1.5)
    bench.exports.want([(1, ref)])
    assert await bench.written() == ref.sha256
    assert bench.exported(ref) == b"PTE" + struct.pack("<f", 1.5)


async def test_the_newest_version_comes_first(bench: Bench) -> None:
    models = [(version, bench.model(version)) for version in (1, 3, 2)]
    bench.exports.want(models)
    for _ in models:
        await bench.written()
    assert bench.calls() == ["3", "2", "1"]


async def test_a_file_that_is_there_is_not_made_again_by_the_next_process(bench: Bench) -> None:
    first, second = bench.model(1.0), bench.model(2.0)
    bench.exports.want([(1, first)])
    await bench.written()
    await bench.exports.close()
    bench.exports = bench.again()
    bench.exports.want([(1, first), (0, second)])
    assert await bench.written() == second.sha256
    assert bench.calls() == ["1", "2"]


async def test_a_failure_is_told_once_and_tried_again_until_it_is_none(bench: Bench) -> None:
    (bench.path / "failures").write_text("no compiler\nstill none")
    ref = bench.model(1.0)
    bench.exports.want([(4, ref)])
    told = await bench.warning()
    assert told == "exporting version 4 failed, and devices wait for it: ValueError: no compiler"
    assert await bench.written() == ref.sha256
    assert bench.calls() == ["1", "1", "1"]
    assert bench.warned.empty()


async def test_a_full_disk_is_a_failure_like_any_other(bench: Bench) -> None:
    bench.disk_full = True
    bench.exports.want([(1, bench.model(1.0))])
    assert "the disk is full" in await bench.warning()
    await bench.written()


async def test_a_new_version_does_not_wait_for_the_pause_after_a_failure(bench: Bench) -> None:
    (bench.path / "failures").write_text("\n".join(["broken"] * 20))
    bench.exports = Exports(
        bench.runner, bench.blobs, lambda num_bytes: None, bench.warned.put_nowait, retry_min_s=1000.0
    )
    first, second = bench.model(1.0), bench.model(2.0)
    bench.exports.want([(1, first)])
    await bench.warning()
    (bench.path / "failures").unlink()
    bench.exports.want([(1, first), (2, second)])
    assert [await bench.written(), await bench.written()] == [second.sha256, first.sha256]


async def test_a_model_that_went_meanwhile_leaves_no_file(bench: Bench) -> None:
    (bench.path / "failures").write_text("not yet")
    gone, stays = bench.model(1.0), bench.model(2.0)
    bench.exports.want([(1, gone)])
    await bench.warning()
    bench.exports.forget(gone)
    bench.blobs.drop(gone)
    bench.exports.want([(2, stays)])
    assert await bench.written() == stays.sha256
    assert bench.calls()[-1] == "2"
    assert not bench.blobs.has_export(gone.sha256)


class Slow(Told):
    """A model goes while its file is being written."""

    exports: Exports

    def put_export(self, sha256: str, data: bytes, allow: Callable[[int], None]) -> None:
        ref = BlobRef(sha256, 0)
        asyncio.run_coroutine_threadsafe(self._gone(ref), self._loop).result(PATIENCE_S)
        super().put_export(sha256, data, allow)

    async def _gone(self, ref: BlobRef) -> None:
        self.exports.forget(ref)
        self.drop(ref)

    def drop_export(self, sha256: str) -> None:
        was_there = self.has_export(sha256)
        super().drop_export(sha256)
        if was_there:
            self._loop.call_soon_threadsafe(self.written.put_nowait, f"dropped {sha256}")


async def test_a_model_that_goes_while_its_file_is_written_leaves_none(bench: Bench) -> None:
    bench.blobs = slow = Slow(bench.path / "blobs")
    bench.exports = slow.exports = bench.again()
    ref = bench.model(1.0)
    bench.exports.want([(1, ref)])
    assert [await bench.written(), await bench.written()] == [ref.sha256, f"dropped {ref.sha256}"]
    assert not slow.has_export(ref.sha256)
