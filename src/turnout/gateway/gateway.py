"""One gateway, put together: it knows the jobs of its server by the feed, reaches them, and serves devices."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from turnout.blobs.place import sources_of
from turnout.dispatcher.pending import DispatcherLimits
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
from turnout.gateway.cors import Origins
from turnout.gateway.http1.server import GatewayServer
from turnout.gateway.limits import GatewayLimits
from turnout.messages import FeedEvent, GatewayCounters
from turnout.transport import feed
from turnout.transport.connection import QUEUE_BYTES_MAX, ConnectionLimits
from turnout.transport.sockets import SocketTransport

Following: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
Ticking: TypeAlias = Callable[[EdgeTaskDispatcher], Coroutine[Any, Any, None]]

TICK_INTERVAL_S = 0.05
CONNECT_LOOK_S = 0.01
CONNECT_LOOKS = 100  #: A gateway that starts looks so often whether the jobs answer: for a second, that is.


async def tick(dispatcher: EdgeTaskDispatcher) -> None:
    """Let requests time out, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(TICK_INTERVAL_S)
        dispatcher.tick(loop.time())


def connection_limits(of_dispatcher: DispatcherLimits | None) -> ConnectionLimits:
    """Of the connections to jobs: what is let in there passes here."""
    held = 0 if of_dispatcher is None else of_dispatcher.results_bytes_max
    return ConnectionLimits(queue_bytes_max=max(QUEUE_BYTES_MAX, held))


class Gateway:
    """Its ``server`` takes devices once it is started; ``run`` keeps it up to date all the while."""

    def __init__(
        self, number: int, limits: GatewayLimits, origins: Origins, of_dispatcher: DispatcherLimits | None = None
    ) -> None:
        """``number``: of this gateway among those of its server."""
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        self._table = JobTable()
        self._transport = SocketTransport(limits=connection_limits(of_dispatcher))
        self._dispatcher = EdgeTaskDispatcher(self._table, self._transport, self._loop.time, Random(), of_dispatcher)
        self.server = GatewayServer(
            self._dispatcher,
            self._dispatcher.schema,
            sources_of(self._table.jobs),
            job_count=self._table.__len__,
            limits=limits,
            origins=origins,
        )

    def run(
        self, feed_at: Path, warn: Callable[[str], None], follow: Following = feed.follow, tick: Ticking = tick
    ) -> list[asyncio.Task[None]]:
        """Tasks that hear which jobs run, and let requests time out: without either there is no gateway."""
        following = follow(feed_at, self._apply, self._counters, warn)
        return [asyncio.create_task(following), asyncio.create_task(tick(self._dispatcher))]

    async def wait_told(self) -> None:
        """Until it is known which jobs run."""
        await self._told.wait()

    async def wait_connected(self) -> None:
        """Until it is known which jobs run and every job has answered, though not for long: one may be down.

        The listening sockets are open all the while. Whoever connects waits, or gets another gateway, which is better
        than being told that there is no such job by one that does not know yet.
        """
        await self.wait_told()
        for _ in range(CONNECT_LOOKS):
            if all(self._dispatcher.schema(job.job_id) is not None for job in self._table):
                return
            await asyncio.sleep(CONNECT_LOOK_S)

    def close(self) -> None:
        """Let the jobs go, once the server is closed."""
        self._transport.close_all()

    def _apply(self, event: FeedEvent) -> None:
        self._dispatcher.apply(event)
        self._told.set()

    def _counters(self) -> GatewayCounters:
        return self.server.counters.snapshot(self._number, self._loop.time())
