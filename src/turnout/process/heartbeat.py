"""How a child process shows its supervisor that it lives, and that it makes progress.

The supervisor keeps the read end of a pipe, each child has the write end of its own. A process that hangs, or was
stopped, or waits for ever within its loop, stays silent, though the operating system says that it runs.
"""

import asyncio
import os

INTERVAL_S = 1.0  #: Between two beats.
BEAT = b"."
PROGRESS = b"+"


class Pulse:
    """The child's end. Nothing here waits or raises: if the supervisor does not listen, the child works on.

    ``fd`` is the inherited pipe; None where nobody listens, as in tests.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._told = False  # of progress, since the last beat
        if fd is not None:
            os.set_blocking(fd, False)
            os.set_inheritable(fd, False)  # a child of ours that outlives us must not seem to be us

    def beat(self) -> None:
        """Say "my loop runs", each ``INTERVAL_S``."""
        self._told = False
        self._write(BEAT)

    def progress(self) -> None:
        """Say "I did what I am here for", as often as it is so; one between two beats is passed on."""
        if not self._told:
            self._told = True
            self._write(PROGRESS)

    def beat_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat now, and from now on for as long as the loop runs: call it once all that starts has started."""
        self.beat()
        loop.call_later(INTERVAL_S, self.beat_on, loop)

    def _write(self, sign: bytes) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, sign)
        except OSError:  # the pipe is full, so the supervisor has been told; or the supervisor is gone
            pass
