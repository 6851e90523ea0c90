"""A bounded pool of subprocesses for work too slow for an event loop: big decodes, training, evaluation.

A worker imports one function, ``package.module:function``, and calls it with bytes, or with a name and bytes; bytes
come back. Nothing is pickled. ``process/worker.py`` is the other side.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import cast

from turnout.errors import TurnoutError
from turnout.process.worker import HEADER, PAYLOAD_BYTES_MAX, Kind

CALL_TIMEOUT_S = 60.0
START_TIMEOUT_S = 60.0  #: Importing and setting up; on a busy machine importing numpy alone takes seconds.
RESTART_BASE_S = 0.05
RESTART_MAX_S = 5.0

#: Several workers share the cores: each uses one thread for its numbers.
ONE_THREAD_EACH = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Failure(StrEnum):
    """Why a call has no result."""

    REFUSED = "refused"  #: The function raised TurnoutError: someone else's mistake, its text says whose.
    RAISED = "raised"  #: The function raised something else; its traceback is on stderr.
    CRASHED = "crashed"  #: The process ended in the middle of the call, or could not be started.
    TIMED_OUT = "timed_out"  #: The call took too long, and its worker was killed.
    CLOSED = "closed"  #: The pool was closed.


class WorkerFailed(TurnoutError):
    """One call has no result. ``reason`` is the label of the DeviceError that was raised there, if it was one."""

    def __init__(self, failure: Failure, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.failure = failure
        self.reason = reason


class WorkersBusy(TurnoutError):
    """The queue is full; nothing was queued."""


class _Call:
    """One piece of work and where its outcome goes. Without a payload: only have a worker ready."""

    __slots__ = ("done", "name", "payload", "timeout_s")

    def __init__(
        self, payload: bytes | memoryview | None, timeout_s: float, name: str, done: asyncio.Future[bytes]
    ) -> None:
        self.payload = payload
        self.name = name
        self.timeout_s = timeout_s
        self.done = done


class _Child(asyncio.SubprocessProtocol):
    """The pipes of one worker process: one frame out, one frame back."""

    def __init__(self) -> None:
        self._transport: asyncio.SubprocessTransport | None = None
        self._received = bytearray()
        self._reply: asyncio.Future[tuple[Kind, bytes] | None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)  # uvloop's is one, but does not inherit it

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        assert isinstance(data, bytes)
        self._received += data
        if len(self._received) < HEADER.size:
            return
        kind, size = HEADER.unpack_from(self._received)
        end = HEADER.size + size
        if len(self._received) >= end and not self._reply.done():
            payload = bytes(memoryview(self._received)[HEADER.size : end])
            self._received = self._received[end:]
            self._reply.set_result((Kind(kind), payload))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        if not self._reply.done():
            self._reply.set_result(None)  # no error: it would hold who waits, and so its payload

    def _how_it_ended(self) -> str:
        assert self._transport is not None
        code = self._transport.get_returncode()
        if code is not None and code < 0:
            return f"the worker process was killed by signal {-code}"
        return f"the worker process ended with exit code {code}"

    async def ask(
        self, kind: Kind, payload: bytes | memoryview, timeout_s: float, name: str = ""
    ) -> tuple[Kind, bytes]:
        """Send a frame, after one with the name if there is one, and wait for the answer.

        Raises WorkerFailed, or TimeoutError with the worker still busy.
        """
        assert self._transport is not None
        if self.ended.done():
            raise WorkerFailed(Failure.CRASHED, self._how_it_ended())
        if self._reply.done():
            self._reply = asyncio.get_running_loop().create_future()
        stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        if name:
            stdin.write(HEADER.pack(Kind.NAME, len(name.encode())) + name.encode())
        stdin.write(HEADER.pack(kind, memoryview(payload).nbytes))
        stdin.write(payload)
        async with asyncio.timeout(timeout_s):
            reply = await asyncio.shield(self._reply)
        if reply is None:
            raise WorkerFailed(Failure.CRASHED, self._how_it_ended())
        return reply

    async def kill(self) -> None:
        """End the process and wait until it is gone."""
        assert self._transport is not None
        try:
            self._transport.kill()
        except ProcessLookupError:
            pass
        await asyncio.shield(self.ended)
        self._transport.close()


class WorkerPool:
    """Up to ``size`` processes, started when they are first needed, restarted when they crash.

    ``target`` is ``"package.module:function"`` with ``function(payload: memoryview) -> bytes``, or ``function(name,
    payload)`` if it is called with names. With ``init``, each
    new process first calls ``setup(init)`` of the same module. ``queue_max`` bounds the calls that wait for a worker.
    ``env`` adds to the environment of the workers. Belongs to one event loop.
    """

    def __init__(
        self, target: str, size: int, queue_max: int, *, init: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        assert size >= 1
        assert queue_max >= 0
        assert ":" in target
        self._target = target
        self._size = size
        self._calls_max = size + queue_max
        self._hello = (Kind.START, b"") if init is None else (Kind.SETUP, init)
        self._env = {**ONE_THREAD_EACH, **os.environ, **(env or {})}
        self._queue: asyncio.Queue[_Call] = asyncio.Queue()
        self._calls: set[_Call] = set()
        self._owners: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def unfinished(self) -> int:
        """Calls that wait or are being worked on."""
        return len(self._calls)

    async def run(self, payload: bytes | memoryview, timeout_s: float = CALL_TIMEOUT_S, name: str = "") -> bytes:
        """Call the function in a worker. Raises WorkerFailed, or WorkersBusy at once when the queue is full.

        ``timeout_s`` runs from when a worker begins. The answer of a cancelled call is thrown away.
        """
        assert memoryview(payload).nbytes <= PAYLOAD_BYTES_MAX
        return await self._call(payload, timeout_s, name)

    async def check(self) -> None:
        """Have a worker set up, before there is work. Raises WorkerFailed when that is not possible."""
        await self._call(None, CALL_TIMEOUT_S, "")

    async def _call(self, payload: bytes | memoryview | None, timeout_s: float, name: str) -> bytes:
        if self._closed:
            raise WorkerFailed(Failure.CLOSED, "the workers are closed")
        if len(self._calls) >= self._calls_max:
            raise WorkersBusy(f"{len(self._calls)} calls of {self._target} are waiting already")
        call = _Call(payload, timeout_s, name, asyncio.get_running_loop().create_future())
        self._calls.add(call)
        self._queue.put_nowait(call)
        if len(self._owners) < min(self._size, len(self._calls)):
            self._owners.append(asyncio.create_task(self._own(), name=f"worker of {self._target}"))
        try:
            return await call.done
        finally:
            self._calls.discard(call)
            del call  # its error holds this frame: with it here, only the collector would free the payload

    async def close(self) -> None:
        """Kill all workers; calls without a result fail."""
        self._closed = True
        for owner in self._owners:
            owner.cancel()
        await asyncio.gather(*self._owners, return_exceptions=True)
        for call in self._calls:
            if not call.done.done():
                call.done.set_exception(WorkerFailed(Failure.CLOSED, "the workers were closed"))

    async def _own(self) -> None:
        """Own one worker process: feed it calls, and replace it when it dies."""
        child: _Child | None = None
        failures = 0
        try:
            while True:
                call = await self._queue.get()
                if call.done.done():
                    continue  # cancelled while it waited
                try:
                    child = child or await self._start()
                    outcome = await self._work(child, call)
                    failures = 0
                except WorkerFailed as error:
                    outcome = WorkerFailed(error.failure, str(error), error.reason)  # this one holds the call
                    if error.failure in (Failure.CRASHED, Failure.TIMED_OUT):
                        await _bury(child)
                        child = None
                        failures += 1
                if not call.done.done():
                    _settle(call, outcome)
                del call, outcome  # to hold no payload while there is nothing to do
                if child is None and failures:
                    await asyncio.sleep(min(RESTART_MAX_S, RESTART_BASE_S * 2 ** min(failures - 1, 20)))
        finally:
            await _bury(child)

    async def _start(self) -> _Child:
        """A process that has imported the function and is set up."""
        loop = asyncio.get_running_loop()
        try:
            _, child = await loop.subprocess_exec(
                _Child, sys.executable, "-P", "-m", "turnout.process.worker", self._target,
                stderr=None, env=self._env, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise WorkerFailed(Failure.CRASHED, f"no worker process for {self._target} could start: {error}") from error
        try:
            kind, payload = await child.ask(*self._hello, START_TIMEOUT_S)
        except TimeoutError:
            await child.kill()
            raise WorkerFailed(Failure.CRASHED, f"{self._target} was not set up within {START_TIMEOUT_S:g} s") from None
        except BaseException:
            await child.kill()
            raise
        if kind is not Kind.READY:
            await child.kill()
            raise WorkerFailed(Failure.CRASHED, _text(kind, payload)[1])
        return child

    async def _work(self, child: _Child, call: _Call) -> "bytes | WorkerFailed":
        if call.payload is None:
            return b""
        try:
            kind, payload = await child.ask(Kind.CALL, call.payload, call.timeout_s, call.name)
        except TimeoutError:
            what = call.name or self._target
            raise WorkerFailed(Failure.TIMED_OUT, f"{what} took longer than {call.timeout_s:g} s") from None
        if kind is Kind.RESULT:
            return payload
        reason, text = _text(kind, payload)
        return WorkerFailed(Failure.REFUSED if kind is Kind.REFUSED else Failure.RAISED, text, reason)


async def _bury(child: _Child | None) -> None:
    if child is not None:
        await child.kill()


def _text(kind: Kind, payload: bytes) -> tuple[str, str]:
    """The label and the text of an answer that is not a result."""
    if kind is not Kind.REFUSED:
        return "", payload.decode(errors="replace")
    reason, _, text = payload.decode(errors="replace").partition("\n")
    return reason, text


def _settle(call: _Call, outcome: bytes | WorkerFailed) -> None:
    if isinstance(outcome, WorkerFailed):
        call.done.set_exception(outcome)
    else:
        call.done.set_result(outcome)
