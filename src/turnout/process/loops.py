"""Which event loop our processes run on, and what its own makers left open."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on uvloop, or on asyncio's own loop where uvloop has no build."""
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(main)


def tell_failure(task: asyncio.Task[None], message: str = "the job failed") -> None:
    """When ``task`` is done, of which nobody waits for the result: hand what it failed with to its loop's handler."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": message, "exception": error})


def send_signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal, unless the process has ended.

    ``process.send_signal`` of asyncio's own loop looks first whether it has, and takes its exit code doing so; the loop
    then finds none, complains, and says 255.
    """
    if process.returncode is None:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
