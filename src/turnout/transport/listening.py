"""Unix sockets that stay: each lies in a folder of its owner's alone, and is bound again when something removes it.

Sockets often lie where others clean: in ``/tmp``, or in a folder that the system removes when its user logs out. Who
listens looks after its own socket, and makes the folder anew if that is gone too. Nobody else could: the next process
that wants to connect finds only the path.
"""

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

from turnout.errors import ServerError

LOOK_S = 1.0  #: How often a socket's owner looks whether it is still there.
WAY_OUT = "set XDG_RUNTIME_DIR to a folder that stays and that you can write to, and start the server again"

logger = logging.getLogger(__name__)
Serve = Callable[[socket.socket], Awaitable[asyncio.Server]]


class CannotListen(ServerError):
    """Nothing can listen at this path now; says which, and what to do."""


class Listening:
    """A Unix socket at ``path`` for as long as we listen; ``serve`` makes a server of a bound socket."""

    def __init__(self, path: str, serve: Serve) -> None:
        self._path = path
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._bound: os.stat_result | None = None
        self._complained = ""

    async def start(self, take_over: bool = False) -> None:
        """Listen. Raises CannotListen, and ServerError when another process already does, unless we ``take_over``."""
        sock = bind(self._path, take_over)
        try:
            bound, server = os.stat(self._path), await self._serve(sock)
        except BaseException:
            sock.close()
            raise
        before, self._server, self._bound = self._server, server, bound
        if before is not None:
            before.close()  # its connections stay

    async def keep(self, look_s: float = LOOK_S) -> None:
        """Look after the socket until cancelled."""
        while True:
            await asyncio.sleep(look_s)
            await self.look()

    async def look(self) -> None:
        """Listen anew if the socket is not there any more. What stands in the way is told once."""
        if self.is_there():
            return
        try:
            await self.start()
        except (ServerError, OSError) as error:
            if str(error) != self._complained:
                self._complained = str(error)
                logger.warning("%s", error)
        else:
            self._complained = ""
            logger.warning("%s was removed, and is there again", self._path)

    def is_there(self) -> bool:
        """Whether the path leads to our socket."""
        assert self._bound is not None, "start comes first"
        try:
            return os.path.samestat(os.stat(self._path), self._bound)
        except OSError:
            return False

    def close(self) -> None:
        """Listen no more; what is connected stays."""
        if self._server is not None:
            self._server.close()
            self._server = None
            if self.is_there():
                Path(self._path).unlink(missing_ok=True)


def private_folder(folder: Path) -> None:
    """Make the folder, or check that it is ours alone: who can write there could pose as control or as a job.

    Raises CannotListen.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise CannotListen(f"cannot make the folder {folder} for sockets: {error.strerror}; {WAY_OUT}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise CannotListen(f"{folder} must be a folder that only you can open (mode 0700); remove it and try again")


def bind(path: str, take_over: bool = False) -> socket.socket:
    """A socket bound to ``path``, for our user only; the file that a killed process left behind is removed.

    A folder that is missing is made, and so is the one that it lies in. Raises CannotListen, and ServerError when
    another process listens there and we do not ``take_over``.
    """
    folder = Path(path).parent
    if not os.path.exists(folder):  # it is for us where we may not look, too: no error
        private_folder(folder.parent)
        private_folder(folder)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.lexists(path):
            _check_left(sock, path, take_over)
            os.unlink(path)
            sock.close()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
    except OSError as error:
        sock.close()
        raise CannotListen(f"cannot listen at {path}: {error.strerror or error}; {WAY_OUT}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _check_left(sock: socket.socket, path: str, take_over: bool) -> None:
    """Raise ServerError unless what is there is a socket, and one that nobody listens at or that we take over."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise ServerError(f'"{path}" exists and is not a socket: it is left alone, choose another path')
    sock.setblocking(False)
    if not take_over and sock.connect_ex(path) in (0, errno.EAGAIN):  # EAGAIN: it hangs, with a full backlog
        raise ServerError(f'"{path}": another process listens there')
