"""What every shell of the gateway does for models: conditional and partial GET, and readers of any speed."""

import os
from pathlib import Path

import pytest

from tests.contract.gateway.conftest import World
from tests.unit.gateway.fakes import get

pytestmark = pytest.mark.anyio

DATA = os.urandom(300_000)
LARGE_BYTES = 16 * 1024 * 1024
SLOW_READERS = 200
#: What 200 readers of 16 MiB may cost: nothing near one copy each, which would be 3.2 GB.
MEMORY_BYTES_MAX = SLOW_READERS * 512 * 1024  #: A few pieces each: an ASGI server has buffers of its own.


async def test_a_model_is_served_with_its_tag(world: World) -> None:
    sha256 = world.put(DATA)
    reply = await world.ask(get(f"/blob/small/{sha256}"))
    assert reply.status == 200
    assert reply.body == DATA
    assert reply.headers["etag"] == f'"{sha256}"'
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["accept-ranges"] == "bytes"
    assert "immutable" in reply.headers["cache-control"]


async def test_head_tells_the_size_alone_and_the_connection_goes_on(world: World) -> None:
    target = f"/blob/small/{world.put(DATA)}"
    device = await world.connect()
    reply = await device.ask(get(target, method="HEAD"), head=True)
    assert reply.status == 200
    assert reply.headers["content-length"] == str(len(DATA))
    assert (await device.ask(get(target))).body == DATA


async def test_a_part_is_served(world: World) -> None:
    reply = await world.ask(get(f"/blob/small/{world.put(DATA)}", Range="bytes=1000-"))
    assert reply.status == 206
    assert reply.body == DATA[1000:]
    assert reply.headers["content-range"] == f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"


async def test_a_part_beyond_the_end_is_416(world: World) -> None:
    reply = await world.ask(get(f"/blob/small/{world.put(DATA)}", Range="bytes=300000-"))
    assert reply.status == 416
    assert reply.headers["content-range"] == "bytes */300000"
    assert reply.json["status"] == "INVALID_REQUEST"


async def test_who_has_it_is_told_304_and_the_connection_goes_on(world: World) -> None:
    sha256 = world.put(DATA)
    device = await world.connect()
    reply = await device.ask(get(f"/blob/small/{sha256}", If_None_Match=f'"{sha256}"'))
    assert reply.status == 304
    assert (await device.ask(get("/healthz"))).status == 200


@pytest.mark.parametrize("path", ["/blob/small/" + "0" * 64, "/blob/other/" + "0" * 64])
async def test_a_model_that_is_not_there_is_404(world: World, path: str) -> None:
    reply = await world.ask(get(path))
    assert reply.status == 404
    assert "unknown or expired model" in reply.json["message"]


async def test_many_slow_readers_of_a_large_model_cost_no_memory(world: World) -> None:
    data = os.urandom(1024) * (LARGE_BYTES // 1024)
    target = f"/blob/small/{world.put(data)}"
    assert (await world.ask(get(target, Range="bytes=0-9"))).body == data[:10]
    before = _own_bytes()
    devices = [await world.connect() for _ in range(SLOW_READERS)]
    for device in devices:
        device.writer.transport.pause_reading()  # type: ignore[attr-defined]
        device.writer.write(get(target))
    assert (await world.ask(get("/healthz"))).status == 200  # others are served meanwhile
    assert _own_bytes() - before < MEMORY_BYTES_MAX
    last = devices[-1]
    last.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert (await last.reply()).body == data


def _own_bytes() -> int:
    """Memory of this process alone: not the pages of files that the system can drop."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    pytest.skip("this system does not tell a process's own memory")
