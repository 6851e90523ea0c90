"""How a process of a server starts, how it is told to end, and how it shows that it lives: the same for every role."""

import argparse
import asyncio
import gc
import signal
from collections.abc import Callable, Collection
from functools import partial

from turnout.process import lifeline
from turnout.process.heartbeat import Pulse

#: Objects made before the collector looks at the youngest: requests make no cycles, so it seldom finds any.
GC_THRESHOLDS = (50_000, 50, 50)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that the supervisor gives to every process."""
    parser.add_argument("--lifeline-fd", type=int, help="the inherited pipe that closes when the supervisor ends")
    parser.add_argument("--pulse-fd", type=int, help="the inherited pipe that shows the supervisor that we live")


def spare_collector() -> None:
    """Call it when everything is loaded: what is there now stays, and the rest is seldom looked at."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def heed(
    lifeline_fd: int | None, pulse: Pulse, stop: Callable[[], object], signals: Collection[signal.Signals] = ()
) -> None:
    """From now on the loop beats, and calls ``stop`` at these signals and when the supervisor ends."""
    loop = asyncio.get_running_loop()
    for number in signals:
        loop.add_signal_handler(number, stop)
    if lifeline_fd is not None:
        lifeline.watch(lifeline_fd, partial(loop.call_soon_threadsafe, stop))
    pulse.beat_on(loop)
