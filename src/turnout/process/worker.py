"""The worker's side of ``turnout.process.pool``: ``python -m turnout.process.worker package.module:function``.

Frames come on stdin and leave on stdout: one byte of kind, four of length (little-endian), then that many bytes.
Nothing else reaches stdout: what user code prints goes to stderr. The process ends when its stdin closes, even in
the middle of a call, so it cannot outlive the process that started it.
"""

import importlib
import os
import queue
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any, BinaryIO

from turnout.errors import TurnoutError

HEADER = struct.Struct("<BI")
PAYLOAD_BYTES_MAX = 2**32 - 1  #: What the length field of a frame can say.


class Kind(IntEnum):
    """What a frame is."""

    START = 1  #: To the worker, first: set up, without arguments.
    SETUP = 2  #: To the worker, first: set up, and hand these bytes to the module's ``setup``.
    CALL = 3  #: To the worker: call the function with these bytes.
    READY = 4  #: From the worker: set up.
    RESULT = 5  #: From the worker: what the function returned.
    REFUSED = 6  #: From the worker: the function raised TurnoutError; ``reason`` label, newline, text.
    RAISED = 7  #: From the worker: it raised something else; one line.
    NAME = 8  #: To the worker, before a call: the function takes this name too, first.


def one_line(error: BaseException) -> str:
    """An exception as a person reads it in a log: its type and its text, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _read_exactly(stream: BinaryIO, size: int) -> bytearray | None:
    """``size`` bytes, or None when the stream ended before."""
    data = bytearray(size)
    view = memoryview(data)
    at = 0
    while at < size:
        count = stream.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            return None
        at += count
    return data


def _feed(stream: BinaryIO, inbox: "queue.SimpleQueue[tuple[Kind, bytearray]]") -> None:
    """Read frames for the main thread; end the process when there are no more."""
    while True:
        header = _read_exactly(stream, HEADER.size)
        if header is None:
            break
        kind, size = HEADER.unpack(header)
        payload = _read_exactly(stream, size)
        if payload is None:
            break
        inbox.put((Kind(kind), payload))
    os._exit(0)


def _take_over_stdio() -> tuple[BinaryIO, BinaryIO]:
    """Our own streams to the parent; user code finds an empty stdin, and a stdout that is stderr."""
    frames_in = os.fdopen(os.dup(0), "rb")
    frames_out = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return frames_in, frames_out


def _send(stream: BinaryIO, kind: Kind, payload: bytes | bytearray | memoryview = b"") -> None:
    size = memoryview(payload).nbytes
    stream.write(HEADER.pack(kind, size))
    stream.write(payload)
    stream.flush()


def _handle(function: Callable[..., Any], *args: str | memoryview) -> tuple[Kind, bytes | memoryview]:
    """Call user code; whatever it raises becomes a frame, with the traceback on stderr for what it did not intend."""
    try:
        return Kind.RESULT, function(*args) or b""
    except TurnoutError as error:
        return Kind.REFUSED, f"{getattr(error, 'reason', '')}\n{error}".encode()
    except Exception as error:  # this process supervises the function
        traceback.print_exc()
        return Kind.RAISED, one_line(error).encode()


def _prepare(target: str, first: Kind, payload: bytearray) -> Callable[..., bytes | memoryview]:
    """Import the function and set its module up."""
    module_name, _, function_name = target.partition(":")
    module = importlib.import_module(module_name)
    function: Callable[..., bytes | memoryview] = getattr(module, function_name)
    if first is Kind.SETUP:
        module.setup(memoryview(payload))
    return function


def main(target: str) -> None:
    """Serve calls until stdin closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes our stdin
    frames_in, frames_out = _take_over_stdio()
    inbox: queue.SimpleQueue[tuple[Kind, bytearray]] = queue.SimpleQueue()
    threading.Thread(target=_feed, args=(frames_in, inbox), daemon=True).start()
    loaded: list[Callable[..., bytes | memoryview]] = []
    kind, payload = _handle(lambda: loaded.append(_prepare(target, *inbox.get())))
    if kind is not Kind.RESULT:
        _send(frames_out, kind, payload)
        return
    _send(frames_out, Kind.READY)
    while True:
        kind, data = inbox.get()
        name: list[str] = []
        if kind is Kind.NAME:
            name.append(data.decode())
            kind, data = inbox.get()
        assert kind is Kind.CALL
        _send(frames_out, *_handle(loaded[0], *name, memoryview(data)))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except BrokenPipeError:
        os._exit(0)  # the parent is gone
