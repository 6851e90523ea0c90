"""The processes under ``turnout run`` and ``turnout demo``: a whole server on free ports, a fleet, and helpers.

All inherit a lifeline, so none is left behind however this process ends.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from turnout.errors import TurnoutError
from turnout.process import loops
from turnout.process.environment import environment
from turnout.supervisor import commands, policy

READY_TIMEOUT_S = 20.0
#: A server ends its children kind by kind; it gets all the time they may take, and some of its own.
SERVER_GRACE_S = policy.GRACE_S + 2.0
GRACE_S = 3.0
LINE_BYTES_MAX = 1 << 20


class Child:
    """One process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, readers: list[asyncio.Task[None]]) -> None:
        self.name = name
        self.pid = process.pid
        self.stopping = False
        self._process = process
        self._readers = readers

    async def wait(self) -> int:
        """Its exit code, once all it said was passed on."""
        code = await self._process.wait()
        await asyncio.wait(self._readers, timeout=GRACE_S)
        for reader in self._readers:
            reader.cancel()
        return code

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """End it: kindly, and by force after ``grace_s``."""
        self.stopping = True
        loops.send_signal(self._process, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self.wait()
        except TimeoutError:
            loops.send_signal(self._process, signal.SIGKILL)
            await self.wait()

    def ended_as(self, code: int) -> str:
        """How it ended, as a sentence without its end."""
        return f"{self.name} (pid {self.pid}) {policy.describe_exit(code)}"


class Children:
    """Starts children that end with this process."""

    def __init__(self, said: Callable[[str], None]) -> None:
        """``said`` gets every line that a child writes for people."""
        self._said = said
        self._lifeline, self._our_end = os.pipe()
        self._children: list[Child] = []

    async def start(
        self, name: str, command: list[str], told: Callable[[bytes], None] | None = None, pass_fds: tuple[int, ...] = ()
    ) -> Child:
        """Start ``command``, with the lifeline's number in place of ``LIFELINE``; ``told`` gets each line of stdout."""
        process = await asyncio.create_subprocess_exec(
            *(part.replace(commands.LIFELINE, str(self._lifeline)) for part in command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if told is None else asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            env=environment(),
            pass_fds=(self._lifeline, *pass_fds),
            process_group=0,  # Ctrl-C in the terminal is ours to handle
        )
        assert process.stderr is not None
        readers = [asyncio.create_task(_read(process.stderr, lambda line: self._said(line.decode("utf-8", "replace"))))]
        if told is not None:
            assert process.stdout is not None
            readers.append(asyncio.create_task(_read(process.stdout, told)))
        child = Child(name, process, readers)
        self._children.append(child)
        return child

    async def start_server(self, data: Path, gateways: int, seed: int) -> tuple[Child, str, str, str]:
        """A server on free ports: its process, the devices' URL, the API's, and the owner's token."""
        ready, theirs = os.pipe()
        try:
            command = commands.server(data, gateways, theirs, seed)
            child = await self.start("supervisor", command, pass_fds=(theirs,))
        finally:
            os.close(theirs)
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                told = [line async for line in _lines(ready)]
        except TimeoutError:
            told = []
        except asyncio.CancelledError:
            await child.stop(SERVER_GRACE_S)  # nobody else knows of it yet
            raise
        if len(told) != 3:
            raise TurnoutError(f"the server did not start; {child.ended_as(await child.wait())}")
        return child, told[0], told[1], told[2]

    def close(self) -> None:
        """Let go of whatever still runs: it ends by itself."""
        os.close(self._our_end)
        os.close(self._lifeline)


async def _lines(fd: int) -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        while line := await reader.readline():
            yield line.decode().strip()
    finally:
        transport.close()


async def _read(stream: asyncio.StreamReader, each: Callable[[bytes], None]) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # longer than the limit: not for people
            continue
        if not line:
            return
        each(line.rstrip())
