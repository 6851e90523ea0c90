"""A gateway, its dispatcher and one job, the real ones, in this process; devices come over real HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import msgspec

from turnout.blobs.folder import BlobStore
from turnout.blobs.place import sources_of
from turnout.control.check import running_job
from turnout.dispatcher.pending import DispatcherLimits
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
from turnout.gateway.http1.server import GatewayServer
from turnout.gateway.limits import GatewayLimits
from turnout.gateway.site import Dispatcher
from turnout.job.folder.folder import load_job_folder
from turnout.job.journal.journal import Journal
from turnout.job.journal.memory import MemoryJournal
from turnout.job.process import JobProcess
from turnout.messages import JobLaunched
from turnout.transport.inprocess import InProcessJobs, InProcessTransport

JOB_ID = "job-1"
TICK_S = 0.05

Between = Callable[[EdgeTaskDispatcher], Dispatcher]  #: Puts something between the gateway and the dispatcher.


def nothing(dispatcher: EdgeTaskDispatcher) -> Dispatcher:
    return dispatcher


class Site:
    """Serves the job of a folder at ``url``."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        gateway_limits: GatewayLimits,
        dispatcher_limits: DispatcherLimits,
        between: Between,
    ) -> None:
        self._blobs = BlobStore(folder.parent / "data" / "blobs")
        self._folder = load_job_folder(folder)
        self.job = JobProcess(self._folder, JOB_ID, self._blobs, journal)
        jobs, table = InProcessJobs(), JobTable()
        transport = InProcessTransport(jobs)
        loop = asyncio.get_running_loop()
        self.dispatcher = EdgeTaskDispatcher(table, transport, loop.time, Random(1), dispatcher_limits)
        asked = between(self.dispatcher)
        self.gateway = GatewayServer(asked, self.dispatcher.schema, sources_of(table.jobs), limits=gateway_limits)
        jobs.serve(JOB_ID, JOB_ID, 1, self.job.shell.schema, self.job.shell)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    async def start(self) -> None:
        self.job.shell.start()
        known = running_job(self._folder)
        job = msgspec.structs.replace(known, job_id=JOB_ID, address=JOB_ID, blobs=str(self._blobs.folder))
        self.dispatcher.apply(JobLaunched(job))
        self._ticking = asyncio.create_task(self._tick())
        await self.gateway.start([self._listening])

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.dispatcher.tick(asyncio.get_running_loop().time())

    async def close(self) -> None:
        self._ticking.cancel()
        await self.gateway.close()
        await self.job.close()


@asynccontextmanager
async def site(
    folder: Path,
    *,
    journal: Journal | None = None,
    gateway_limits: GatewayLimits | None = None,
    dispatcher_limits: DispatcherLimits | None = None,
    between: Between = nothing,
) -> AsyncIterator[Site]:
    """Serve until the block ends."""
    made = Site(
        folder,
        journal or MemoryJournal(),
        gateway_limits or GatewayLimits(),
        dispatcher_limits or DispatcherLimits(),
        between,
    )
    await made.start()
    try:
        yield made
    finally:
        await made.close()
