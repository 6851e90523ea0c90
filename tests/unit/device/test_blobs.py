"""Models by their sha256: fetched once, checked, resumed."""

import asyncio
import hashlib
from collections.abc import Iterator

import pytest

from tests.unit.device.scripted import CLOSE, ScriptedServer, reply
from turnout.device.blobs import BlobCache, BlobUnavailable
from turnout.device.http import HttpClient
from turnout.messages import ModelRef

pytestmark = pytest.mark.anyio

DATA = b"0123456789"


def ref(data: bytes = DATA) -> ModelRef:
    return ModelRef(hashlib.sha256(data).hexdigest(), len(data), {})


def piece(start: int, end: int, promised: int) -> bytes:
    """DATA[start:end] of a reply that promises all up to ``promised``, and then breaks off if that is more."""
    head = f"HTTP/1.1 {206 if start else 200} X\r\nContent-Length: {promised - start}\r\n"
    if start:
        head += f"Content-Range: bytes {start}-{promised - 1}/{promised}\r\n"
    return head.encode() + b"\r\n" + DATA[start:end] + (CLOSE if end < promised else b"")


class Fixture:
    """A cache before a server that gives these answers in turn."""

    def __init__(self, *answers: bytes, kept_bytes_max: int = 1000) -> None:
        left: Iterator[bytes] = iter(answers)
        self.server = ScriptedServer(lambda asked: next(left))
        self.kept_bytes_max = kept_bytes_max

    async def __aenter__(self) -> "Fixture":
        await self.server.__aenter__()
        self.http = HttpClient(self.server.url)
        self.blobs = BlobCache(self.http, self.kept_bytes_max)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.blobs.close()
        await self.http.close()
        await self.server.__aexit__()

    def ranges(self) -> list[str | None]:
        return [asked.headers.get("range") for asked in self.server.asked]


async def test_a_model_is_fetched_once_and_kept() -> None:
    async with Fixture(reply(DATA)) as fixture:
        assert await fixture.blobs.get("j1", ref()) == DATA
        assert await fixture.blobs.get("j1", ref()) == DATA
        assert [asked.target for asked in fixture.server.asked] == [f"/blob/j1/{ref().sha256}"]


async def test_devices_that_want_the_same_model_at_once_share_one_download() -> None:
    async with Fixture(reply(DATA)) as fixture:
        assert await asyncio.gather(*(fixture.blobs.get("j1", ref()) for _ in range(5))) == [DATA] * 5


async def test_a_download_that_broke_off_goes_on_where_it_was() -> None:
    async with Fixture(piece(0, 3, 10), piece(3, 8, 10), piece(8, 10, 10)) as fixture:
        assert await fixture.blobs.get("j1", ref()) == DATA
        assert fixture.ranges() == [None, "bytes=3-", "bytes=8-"]
        assert fixture.server.asked[1].headers["if-range"] == f'"{ref().sha256}"'


async def test_a_server_that_does_not_resume_sends_all_again() -> None:
    async with Fixture(piece(0, 3, 10), reply(DATA)) as fixture:
        assert await fixture.blobs.get("j1", ref()) == DATA


async def test_a_download_that_brings_nothing_more_is_given_up() -> None:
    async with Fixture(piece(0, 3, 10), piece(3, 3, 10)) as fixture:
        with pytest.raises(BlobUnavailable, match="3 of 10 bytes came"):
            await fixture.blobs.get("j1", ref())


async def test_a_piece_of_another_place_is_not_taken() -> None:
    async with Fixture(piece(0, 3, 10), piece(4, 10, 10)) as fixture:
        with pytest.raises(BlobUnavailable, match="HTTP 206"):
            await fixture.blobs.get("j1", ref())


async def test_a_model_with_other_contents_is_not_taken() -> None:
    async with Fixture(reply(b"9876543210"), reply(DATA)) as fixture:
        with pytest.raises(BlobUnavailable, match="came with the contents of"):
            await fixture.blobs.get("j1", ref())
        assert await fixture.blobs.get("j1", ref()) == DATA


async def test_a_model_larger_than_it_was_said_to_be_is_not_taken() -> None:
    async with Fixture(reply(DATA + b"x")) as fixture:
        with pytest.raises(BlobUnavailable):
            await fixture.blobs.get("j1", ref())


async def test_a_model_that_is_gone_is_unavailable() -> None:
    async with Fixture(reply(b"{}", 404)) as fixture:
        with pytest.raises(BlobUnavailable, match="HTTP 404"):
            await fixture.blobs.get("j1", ref())


async def test_the_oldest_models_leave_when_there_is_no_more_room() -> None:
    first, second = b"a" * 6, b"b" * 6
    async with Fixture(reply(first), reply(second), reply(first), kept_bytes_max=10) as fixture:
        for data in (first, second, second, first):
            assert await fixture.blobs.get("j1", ref(data)) == data
        assert len(fixture.server.asked) == 3


async def test_a_device_that_leaves_does_not_spoil_the_download_of_others() -> None:
    async with Fixture(reply(DATA)) as fixture:
        leaves = asyncio.ensure_future(fixture.blobs.get("j1", ref()))
        stays = asyncio.ensure_future(fixture.blobs.get("j1", ref()))
        await asyncio.sleep(0)
        leaves.cancel()
        assert await stays == DATA
