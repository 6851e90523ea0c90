"""Asks every running job how it does, once a second, and keeps what it says: for charts, watchers and ``/metrics``."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice

from turnout.control.known import KnownJobs
from turnout.control.samples import Samples, sample_of
from turnout.control.traffic import Traffic, TrafficMeter
from turnout.messages import GatewayCounters, JobStatus

INTERVAL_S = 1.0
JOBS_SAMPLED_MAX = 200  #: The oldest running jobs; later ones have no charts.


class Sampler:
    """``statuses`` is what the running jobs said last, by job."""

    def __init__(
        self,
        known: KnownJobs,
        gateways: Callable[[], list[GatewayCounters]],
        samples: Samples,
        wall_clock: Callable[[], float],
    ) -> None:
        self.statuses: dict[str, JobStatus] = {}
        self._known = known
        self._gateways = gateways
        self._samples = samples
        self._meter = TrafficMeter()
        self._now = wall_clock

    async def run(self) -> None:
        """Take samples until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.take()
            due = max(due + INTERVAL_S, loop.time())
            await asyncio.sleep(due - loop.time())

    async def take(self) -> None:
        """One sample of each running job that answers."""
        job_ids = self.sampled(self._known.jobs.running)
        traffic = self._meter.observe(self._gateways())
        answers = await asyncio.gather(*map(self._known.ask_status, job_ids))
        at = self._now()
        for job_id in self.statuses.keys() - set(job_ids):
            self._take_last(job_id, traffic, at)
        self.statuses = {job_id: self.statuses[job_id] for job_id in job_ids if job_id in self.statuses}
        for job_id, status in zip(job_ids, answers, strict=True):
            if status is not None:
                self.statuses[job_id] = status
                self._samples.add(job_id, sample_of(status, traffic, at))

    def _take_last(self, job_id: str, traffic: Traffic, at: float) -> None:
        """Of a job that has ended since: what it came to, when it could still say so."""
        final = self._known.jobs.final(job_id)
        if final is not None:
            self._samples.add(job_id, sample_of(final, traffic, at))

    @staticmethod
    def sampled(running: Iterable[str]) -> list[str]:
        """Of the running jobs, those that are asked."""
        return list(islice(running, JOBS_SAMPLED_MAX))
