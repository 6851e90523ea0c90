"""The gateway's process: what ends it."""

import argparse
import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.gateway.process import serve
from turnout.gateway.settings import Limits

pytestmark = pytest.mark.anyio


async def served(tmp_path: Path, **parts: Any) -> None:
    """Serve with these parts, and nobody at the other end of the feed."""
    listen = socket.create_server(("127.0.0.1", 0))
    options = argparse.Namespace(
        number=0,
        listen_fd=[listen.detach()],
        feed=tmp_path / "feed",
        tls_cert=None,
        grpc_address=None,
        cors_origin=[],
        limits=Limits(),
        lifeline_fd=None,
        pulse_fd=None,
    )
    await asyncio.wait_for(serve(options, **parts), 10)


async def test_when_requests_can_no_longer_time_out_the_process_ends(tmp_path: Path) -> None:
    async def broken(dispatcher: EdgeTaskDispatcher) -> None:
        raise RuntimeError("the book of requests is broken")

    with pytest.raises(RuntimeError, match="the book of requests is broken"):
        await served(tmp_path, tick=broken)


async def test_when_it_can_no_longer_hear_of_jobs_the_process_ends(tmp_path: Path) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the table of jobs is broken")

    with pytest.raises(RuntimeError, match="the table of jobs is broken"):
        await served(tmp_path, follow=broken)
