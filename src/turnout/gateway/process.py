"""The gateway process: what the supervisor starts, from its command line to its end."""

import argparse
import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

from turnout import lifeline, loops
from turnout.control import feed
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
from turnout.gateway.http import GatewayServer
from turnout.messages import GatewayCounters
from turnout.transport.unix import UnixTransport

logger = logging.getLogger(__name__)

TICK_INTERVAL_S = 0.05
#: Objects made before the collector looks at the youngest: requests make no cycles, so it seldom finds any.
GC_THRESHOLDS = (50_000, 50, 50)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the supervisor ends or says so."""
    parser = argparse.ArgumentParser(prog="python -m turnout.gateway.process", description=__doc__)
    parser.add_argument("--number", type=int, default=0, help="of this gateway among those of the machine")
    parser.add_argument("--listen-fd", type=int, action="append", required=True, help="an inherited listening socket")
    parser.add_argument("--feed", type=Path, required=True, help="control's socket that tells which jobs run")
    parser.add_argument("--lifeline-fd", type=int, help="the inherited pipe that closes when the supervisor ends")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)  # the supervisor says whose
    _raise_file_limit()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    loops.run(serve(options))
    return 0


async def serve(options: argparse.Namespace) -> None:
    """Build the gateway, serve, and end gracefully."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if options.lifeline_fd is not None:
        lifeline.watch(options.lifeline_fd, partial(loop.call_soon_threadsafe, stopping.set))
    table = JobTable()
    transport = UnixTransport()
    dispatcher = EdgeTaskDispatcher(table, transport, loop.time, Random())
    server = GatewayServer(dispatcher, dispatcher.schema, transport.blob, job_count=table.__len__)
    await server.start([socket.socket(fileno=fd) for fd in options.listen_fd])

    def counters() -> GatewayCounters:
        return server.counters.snapshot(options.number, loop.time())

    following = asyncio.create_task(feed.follow(options.feed, dispatcher.apply, counters, logger.warning))
    ticking = asyncio.create_task(_tick(dispatcher))
    try:
        await stopping.wait()
    finally:
        await server.close()
        following.cancel()
        ticking.cancel()
        await asyncio.gather(following, ticking, return_exceptions=True)
        transport.close_all()


async def _tick(dispatcher: EdgeTaskDispatcher) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(TICK_INTERVAL_S)
        dispatcher.tick(loop.time())


def _raise_file_limit() -> None:
    """Take as many descriptors as the system allows us: each connection needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
