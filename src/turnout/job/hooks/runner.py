"""Where the functions of a job's ``server.py`` run: each in a process of its own, which ``host.py`` serves.

A process starts when its function is first needed. None is shared: a slow ``select`` would keep ``weigh`` from judging
results in time, and devices would wait for an ``export`` as long as an evaluation takes (decision 0013).
"""

from pathlib import Path

from turnout.process.pool import WorkerPool

TARGET = "turnout.job.hooks.host:call"
QUEUE_MAX = 1  #: Calls of one function that may wait for the one that is being worked on.


class HookRunner:
    """Calls functions by name. Belongs to one event loop; its processes start when they are first needed."""

    def __init__(self, server: Path) -> None:
        self._init = str(server).encode()
        self._pools: dict[str, WorkerPool] = {}

    async def run(self, name: str, payload: bytes | memoryview, timeout_s: float) -> bytes:
        """Raises WorkerFailed as ``WorkerPool.run`` does; ``timeout_s`` begins when the process takes the call."""
        return await self._pool(name).run(payload, timeout_s, name)

    async def check(self, name: str) -> None:
        """Have the process for this function set up, before there is work. Raises WorkerFailed."""
        await self._pool(name).check()

    def _pool(self, name: str) -> WorkerPool:
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = WorkerPool(TARGET, size=1, queue_max=QUEUE_MAX, init=self._init)
        return pool

    async def close(self) -> None:
        """Kill the processes; calls without a result fail."""
        for pool in self._pools.values():
            await pool.close()
