"""One life of a child: its process, what it prints, and its pulse."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping

from turnout.process import loops
from turnout.process.environment import environment as ours

LINE_BYTES_MAX = 4096  #: A child's output is passed on in pieces of at most this size.
LAST_WORDS_S = (
    0.5  #: How long to wait for the rest of a child's output after its end: its own children may hold the pipe.
)
PULSE_READ_BYTES = 4096


class Life:
    """A running process. ``start`` makes one."""

    def __init__(self, process: asyncio.subprocess.Process, printing: "_Printing", pulse: "_PulseReader") -> None:
        self.pid = process.pid
        self._process = process
        self._printing = printing
        self._pulse = pulse

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        loops.send_signal(self._process, number)

    async def ended(self) -> tuple[int, str]:
        """Its exit code and the last line it printed. All its signs of life have been passed on by then."""
        code = await self._process.wait()
        self._pulse.close()
        return code, await self._printing.end()


async def start(
    command: Callable[[int], list[str]],
    pass_fds: tuple[int, ...],
    printed: Callable[[str], None],
    felt: Callable[[bytes], None],
    environment: Mapping[str, str] | None = None,
) -> Life:
    """Start a process; ``command`` gets the number of its pulse. Raises OSError.

    ``printed`` gets each line that it prints, ``felt`` its signs of life: see ``process/heartbeat.py``.
    """
    output, their_output = os.pipe()
    pulse, their_pulse = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command(their_pulse),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=their_output,
            stderr=their_output,
            env=ours() if environment is None else environment,
            pass_fds=(their_pulse, *pass_fds),
            process_group=0,  # Ctrl-C in the terminal is ours to handle, not the children's
        )
    except OSError:
        os.close(output)
        os.close(pulse)
        raise
    finally:
        os.close(their_output)
        os.close(their_pulse)
    return Life(process, _Printing(output, printed), _PulseReader(pulse, felt))


class _Printing:
    """Passes on each line of a child and keeps the last one."""

    def __init__(self, output: int, printed: Callable[[str], None]) -> None:
        self._last_line = ""
        self._printed = printed
        self._task = asyncio.create_task(self._pass_on(output))

    async def end(self) -> str:
        """The last line, once all were passed on or it took too long."""
        await asyncio.wait([self._task], timeout=LAST_WORDS_S)
        self._task.cancel()
        return self._last_line

    async def _pass_on(self, output: int) -> None:
        async for line in _lines(output):
            self._printed(line)
            self._last_line = line


class _PulseReader:
    """Reads a child's signs of life as they come, and at its end what is left of them."""

    def __init__(self, fd: int, felt: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._felt = felt
        self._open = True
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def close(self) -> None:
        while self._open and self._read():
            pass
        if self._open:  # a process that the child left behind has the other end
            self._stop()

    def _read(self) -> bool:
        """Whether there was something to read."""
        try:
            signs = os.read(self._fd, PULSE_READ_BYTES)
        except BlockingIOError:
            return False
        if signs:
            self._felt(signs)
        else:
            self._stop()
        return bool(signs)

    def _stop(self) -> None:
        self._open = False
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


async def _lines(fd: int) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    rest = b""
    try:
        while chunk := await reader.read(LINE_BYTES_MAX):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                lines.append(rest)
                rest = b""
            for line in lines:
                yield line.decode("utf-8", "replace").rstrip()
        if rest:
            yield rest.decode("utf-8", "replace").rstrip()
    finally:
        transport.close()
