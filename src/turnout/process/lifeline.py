"""How a child process notices that its parent is gone, however the parent ended.

The parent keeps the write end of a pipe and never writes; every child inherits the read end. When the parent ends, even
by ``kill -9``, the operating system closes the write end and each child reads the end of the file.
"""

import os
import threading
from collections.abc import Callable

GRACE_S = 5.0  #: How long a child may take to end by itself after its parent is gone.
EXIT_ORPHANED = 75  #: Exit code of a child that had to be ended by force because its loop did not react.


def watch(fd: int, end: Callable[[], object], grace_s: float = GRACE_S) -> None:
    """Call ``end`` once, **in another thread**, when the pipe closes; end the process by force ``grace_s`` later.

    With an event loop, ``end`` is ``partial(loop.call_soon_threadsafe, stop)``. A thread, because a loop that is busy
    or hangs must not outlive its parent either.
    """

    def wait() -> None:
        try:
            while os.read(fd, 1):
                pass
        except OSError:  # the descriptor was closed under us: as good as the end of the file
            pass
        force = threading.Timer(grace_s, os._exit, (EXIT_ORPHANED,))
        force.daemon = True
        force.start()
        try:
            end()
        except RuntimeError:  # the event loop is closed already: the process is ending
            pass

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
