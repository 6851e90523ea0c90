"""The feed from control to gateways: which jobs run. Upwards, each gateway tells what it has done.

A gateway that connects gets a snapshot first, then the events of the jobs' life cycle in their order. Without control
a gateway works with what it knows and keeps trying to connect.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from turnout.errors import ServerError
from turnout.messages import FeedEvent, GatewayCounters, LifeCycleEvent, RunningJob, TableSnapshot
from turnout.transport import stream

RECONNECT_MIN_S = 0.1
RECONNECT_MAX_S = 0.5  #: A gateway that starts serves nobody before it has heard from control.
COUNTERS_INTERVAL_S = 1.0
COUNTERS_FORGOTTEN_S = 10.0  #: A gateway silent this long is no longer shown.


class FeedServer:
    """Control's end. ``jobs`` gives the jobs that run now."""

    def __init__(self, jobs: Callable[[], Iterable[RunningJob]]) -> None:
        self._jobs = jobs
        self._gateways: set[stream.MessageStream[GatewayCounters]] = set()
        self._counters: dict[int, tuple[float, GatewayCounters]] = {}

    async def serve(self, path: Path, ready: Callable[[], None] = lambda: None) -> None:
        """Listen at ``path`` until cancelled; ``ready`` is called once gateways can connect."""
        await stream.serve(path, msgspec.msgpack.Decoder(GatewayCounters), self._connected, ready)

    def publish(self, event: LifeCycleEvent) -> None:
        """Tell every connected gateway. Change what ``jobs`` gives first: who connects later gets only that."""
        for gateway in self._gateways:
            gateway.send(event)

    def gateways(self) -> list[GatewayCounters]:
        """The latest counters of every gateway heard of lately, by number."""
        oldest = time.monotonic() - COUNTERS_FORGOTTEN_S
        return [counters for _, (heard, counters) in sorted(self._counters.items()) if heard >= oldest]

    async def _connected(self, gateway: stream.MessageStream[GatewayCounters]) -> None:
        gateway.send(TableSnapshot(tuple(self._jobs())))
        self._gateways.add(gateway)
        try:
            while (counters := await gateway.receive()) is not None:
                self._counters[counters.gateway] = (time.monotonic(), counters)
        finally:
            self._gateways.discard(gateway)


async def follow(
    path: Path,
    apply: Callable[[FeedEvent], None],
    counters: Callable[[], GatewayCounters],
    complain: Callable[[str], None],
) -> None:
    """The gateway's end: call ``apply`` with each event, report ``counters`` each second; until cancelled.

    Connects again, with backoff, whenever control is away; the snapshot that comes first replaces what was known.
    ``complain`` gets one line when control speaks another version.
    """
    decoder: msgspec.msgpack.Decoder[FeedEvent] = msgspec.msgpack.Decoder(FeedEvent)
    wait_s = RECONNECT_MIN_S
    while True:
        try:
            feed = await stream.connect(path, decoder)
        except OSError:
            pass
        except ServerError as error:
            complain(f"control's feed: {error}")
        else:
            wait_s = RECONNECT_MIN_S
            await _follow_one(feed, apply, counters, complain)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, RECONNECT_MAX_S)


async def _follow_one(
    feed: stream.MessageStream[FeedEvent],
    apply: Callable[[FeedEvent], None],
    counters: Callable[[], GatewayCounters],
    complain: Callable[[str], None],
) -> None:
    async def report() -> None:
        while True:
            feed.send(counters())
            await asyncio.sleep(COUNTERS_INTERVAL_S)

    reporting = asyncio.create_task(report())
    try:
        while (event := await feed.receive()) is not None:
            apply(event)
    except ServerError as error:
        complain(f"control's feed: {error}")
    finally:
        reporting.cancel()
        await feed.aclose()
