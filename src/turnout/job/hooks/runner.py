"""Where the functions of a job's ``server.py`` run: two processes, which ``host.py`` serves.

One is for what devices wait for within seconds (``select``, ``weigh``), one for what may take minutes (``evaluate``,
``export``). A function that hangs holds up the other of its process until its call times out; four processes would
each load the job's libraries again.
"""

from pathlib import Path

from turnout.job.folder.folder import SELECT, WEIGH
from turnout.process.pool import WorkerPool

TARGET = "turnout.job.hooks.host:call"
QUICK = frozenset({SELECT, WEIGH})
EACH_CALLS = 1  #: Calls of one function at a time, of which each process serves two.


class HookRunner:
    """Calls functions by name. Belongs to one event loop; its processes start when they are first needed."""

    def __init__(self, server: Path) -> None:
        init = str(server).encode()
        self._quick = WorkerPool(TARGET, size=1, queue_max=EACH_CALLS, init=init)
        self._slow = WorkerPool(TARGET, size=1, queue_max=EACH_CALLS, init=init)

    async def run(self, name: str, payload: bytes | memoryview, timeout_s: float) -> bytes:
        """Raises WorkerFailed as ``WorkerPool.run`` does; ``timeout_s`` begins when the process takes the call."""
        return await self._pool(name).run(payload, timeout_s, name)

    async def check(self, name: str) -> None:
        """Have the process for this function set up, before there is work. Raises WorkerFailed."""
        await self._pool(name).check()

    def _pool(self, name: str) -> WorkerPool:
        return self._quick if name in QUICK else self._slow

    async def close(self) -> None:
        """Kill both processes; calls without a result fail."""
        await self._quick.close()
        await self._slow.close()
