"""The gateway's models: opened once, kept within a bound, and as JSON for those who need it."""

import asyncio
import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from turnout.blobs.base import BUSY, SUFFIX, BlobName, Busy, OpenBlob
from turnout.blobs.cache import Blobs
from turnout.blobs.place import MAPPED_BYTES_MIN, FolderSource
from turnout.gateway import decode
from turnout.gateway.limits import GatewayLimits
from turnout.gateway.weights import Weights, exports_of
from turnout.messages import ModelSchema, TensorSpec
from turnout.process.pool import WorkerPool
from turnout.wire import tensors
from turnout.wire.forms import EXECUTORCH, NUMBER, WEIGHTS, Form

pytestmark = pytest.mark.anyio

BYTES_MAX, LOADS_MAX = 1_000_000_000, 10


class Folder:
    """Keeps blobs in a folder, and counts how often one is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = 0
        self._source = FolderSource(str(path))

    def of(self, job_id: str) -> "Folder":
        return self

    def open(self, sha256: str, suffix: str) -> OpenBlob:
        self.asked += 1
        return self._source.open(sha256, suffix)

    def remove_all(self) -> None:
        for file in self.path.iterdir():
            file.unlink()

    def put(self, data: bytes, name: str | None = None) -> BlobName:
        sha256 = name or hashlib.sha256(data).hexdigest()
        (self.path / f"{sha256}{SUFFIX}").write_bytes(data)
        return BlobName("j", sha256)


async def fetched(blobs: Blobs, name: BlobName) -> memoryview | Busy | None:
    found: asyncio.Future[memoryview | Busy | None] = asyncio.get_running_loop().create_future()
    blobs.fetch(name, found.set_result)
    return await found


@pytest.mark.parametrize("size", [10, MAPPED_BYTES_MIN, MAPPED_BYTES_MIN + 1])
async def test_a_blob_is_opened_once(tmp_path: Path, size: int) -> None:
    folder = Folder(tmp_path)
    data = bytes(range(256)) * (size // 256 + 1)
    name = folder.put(data)
    blobs = Blobs(folder.of, BYTES_MAX, LOADS_MAX)
    found = await asyncio.gather(*(fetched(blobs, name) for _ in range(5)))
    assert await fetched(blobs, name) == data
    assert all(blob == data for blob in found)
    assert folder.asked == 1


async def test_a_blob_that_is_not_there_is_none_and_may_come_later(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    blobs = Blobs(folder.of, BYTES_MAX, LOADS_MAX)
    name = BlobName("j", hashlib.sha256(b"later").hexdigest())
    assert await fetched(blobs, name) is None
    folder.put(b"later")
    assert await fetched(blobs, name) == b"later"


async def test_a_file_that_is_not_what_its_name_says_is_not_served(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    name = folder.put(b"damaged", "0" * 64)
    assert await fetched(Blobs(folder.of, BYTES_MAX, LOADS_MAX), name) is None


async def test_the_blob_used_longest_ago_is_dropped_when_there_are_too_many_bytes(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first, second, third = (folder.put(bytes([i]) * 10_000) for i in range(3))
    blobs = Blobs(folder.of, 30_000, LOADS_MAX)
    await fetched(blobs, first)
    await fetched(blobs, second)
    await fetched(blobs, first)
    await fetched(blobs, third)
    assert folder.asked == 3
    await fetched(blobs, first)
    assert folder.asked == 3
    await fetched(blobs, second)
    assert folder.asked == 4


class InChunks:
    """A store elsewhere, which gives a blob in pieces."""

    def __init__(self, num_bytes: int, *chunks: bytes) -> None:
        self._blob = OpenBlob(num_bytes, map(memoryview, chunks))

    def open(self, sha256: str, suffix: str) -> OpenBlob:
        return self._blob


@pytest.mark.parametrize(
    ("num_bytes", "chunks", "read"),
    [
        (6, (b"ab", b"cde", b"f"), b"abcdef"),
        (6, (b"abcdef",), b"abcdef"),
        (0, (), b""),
        (7, (b"ab", b"cde", b"f"), None),
        (5, (b"ab", b"cde", b"f"), None),
        (5, (b"abcdef",), None),
    ],
)
async def test_a_blob_that_comes_in_chunks_is_whole_or_is_not_there(
    num_bytes: int, chunks: tuple[bytes, ...], read: bytes | None
) -> None:
    source = InChunks(num_bytes, *chunks)
    blobs = Blobs(lambda job_id: source, BYTES_MAX, LOADS_MAX)

    assert await fetched(blobs, BlobName("j", hashlib.sha256(b"".join(chunks)).hexdigest())) == read


async def test_a_blob_larger_than_the_bound_is_served_all_the_same(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    blobs = Blobs(folder.of, 10, LOADS_MAX)
    assert await fetched(blobs, folder.put(b"x" * 100)) == b"x" * 100


async def test_blobs_being_opened_are_bounded_in_number(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    blobs = Blobs(folder.of, BYTES_MAX, loads_max=1)
    first, second = folder.put(b"1"), folder.put(b"2")
    assert await asyncio.gather(fetched(blobs, first), fetched(blobs, second)) == [b"1", BUSY]


SCHEMA = ModelSchema((TensorSpec("w", (2, 2)), TensorSpec("b", (2,))))
VECTOR = np.array([1, 2, 3, 4, 0.5, -0.5], np.float32)
NESTED = {"w": [[1.0, 2.0], [3.0, 4.0]], "b": [0.5, -0.5]}


def weights_in(folder: Folder, limits: GatewayLimits, workers: WorkerPool | None = None) -> Weights:
    pool = workers or WorkerPool(decode.TARGET, 1, 1)
    return Weights(Blobs(folder.of, BYTES_MAX, limits.loads_max), exports_of(folder.of, limits), pool, limits)


async def weights_of(weights: Weights, name: BlobName, form: Form = WEIGHTS) -> bytes | None:
    found = await outcome_of(weights, name, form)
    assert not isinstance(found, Busy)
    return found


async def outcome_of(weights: Weights, name: BlobName, form: Form = WEIGHTS) -> bytes | Busy | None:
    found: asyncio.Future[bytes | Busy | None] = asyncio.get_running_loop().create_future()
    weights.fetch(name, form, found.set_result)
    return await found


async def test_models_being_made_into_json_are_bounded_in_number(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first, second = (folder.put(tensors.to_safetensors(VECTOR + n, SCHEMA)) for n in (0, 1))
    weights = weights_in(folder, GatewayLimits(loads_max=1))
    found = await asyncio.gather(outcome_of(weights, first), outcome_of(weights, second))
    assert isinstance(found[0], bytes)
    assert found[1] is BUSY


@pytest.mark.parametrize("inline_bytes", [10_000, 1])
async def test_a_models_json_is_made_once_here_or_in_a_worker(tmp_path: Path, inline_bytes: int) -> None:
    folder = Folder(tmp_path)
    name = folder.put(tensors.to_safetensors(VECTOR, SCHEMA))
    limits = GatewayLimits(inline_decode_bytes=inline_bytes)
    workers = WorkerPool(decode.TARGET, 1, 1)
    weights = weights_in(folder, limits, workers)
    try:
        found = await asyncio.gather(*(weights_of(weights, name) for _ in range(3)))
        assert [msgspec.json.decode(text or b"") for text in found] == [NESTED] * 3
        assert await weights_of(weights, name) is found[0]
    finally:
        await workers.close()


async def test_the_json_of_a_model_that_is_not_there_is_none(tmp_path: Path) -> None:
    weights = weights_in(Folder(tmp_path), GatewayLimits())
    assert await weights_of(weights, BlobName("j", "0" * 64)) is None


async def test_the_json_of_models_is_bounded_in_bytes(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    weights = weights_in(folder, GatewayLimits(weights_bytes_max=50))
    names = [folder.put(tensors.to_safetensors(VECTOR + i, SCHEMA)) for i in range(3)]
    first = await weights_of(weights, names[0])
    await weights_of(weights, names[1])
    again = await weights_of(weights, names[0])
    assert first == again
    assert first is not again


@pytest.mark.parametrize("inline_bytes", [10_000, 1])
async def test_what_was_exported_of_a_model_is_told_as_base64_once_it_is_there(
    tmp_path: Path, inline_bytes: int
) -> None:
    folder = Folder(tmp_path)
    name = folder.put(tensors.to_safetensors(VECTOR, SCHEMA))
    workers = WorkerPool(decode.TARGET, 1, 1)
    weights = weights_in(folder, GatewayLimits(inline_decode_bytes=inline_bytes), workers)
    try:
        assert await weights_of(weights, name, EXECUTORCH) is None
        (tmp_path / f"{name.sha256}.pte").write_bytes(b"\x00\xffpte")
        assert await weights_of(weights, name, EXECUTORCH) == b'"AP9wdGU="'
        assert msgspec.json.decode(await weights_of(weights, name) or b"") == NESTED
    finally:
        await workers.close()


async def test_a_model_of_one_number_is_told_as_such(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    name = folder.put(tensors.to_safetensors(np.array([1.5], np.float32), ModelSchema((TensorSpec("w", ()),))))
    assert await weights_of(weights_in(folder, GatewayLimits()), name, NUMBER) == b'{"value":1.5}'


async def test_a_blob_of_a_job_that_ended_is_gone_though_it_was_kept_and_who_reads_it_reads_on(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    blobs = Blobs(folder.of, BYTES_MAX, LOADS_MAX)
    name, other = folder.put(b"of j"), BlobName("k", folder.put(b"of k").sha256)
    reading = await fetched(blobs, name)
    await fetched(blobs, other)
    folder.remove_all()
    assert await fetched(blobs, name) == b"of j"
    blobs.forget_unless(lambda job_id: job_id == "k")
    assert await fetched(blobs, name) is None
    assert await fetched(blobs, other) == b"of k"
    assert reading == b"of j"
