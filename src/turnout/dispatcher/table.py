"""Which running job a device means: the jobs by id and by name, kept up to date by the feed. Pure."""

import re
from collections.abc import Iterator
from random import Random
from typing import Final

from turnout.messages import (
    Eligibility,
    FeedEvent,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobLaunched,
    JobRequest,
    RunningJob,
    TableSnapshot,
)

#: "1.10.2", "v2.0-beta": up to eight numbers of up to nine digits (a device may send anything), then whatever follows.
_VERSION: Final = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,7})(?!\d)", re.ASCII)


def version_numbers(text: str) -> tuple[int, ...] | None:
    """The leading numbers of a version, without trailing zeros ("1.0" is "1"); None when it does not begin with one."""
    found = _VERSION.match(text.strip())
    if found is None:
        return None
    numbers = [int(part) for part in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def admits(eligibility: Eligibility, request: JobRequest) -> bool:
    """Whether a job with this eligibility takes this device. An empty eligibility takes every device.

    Platforms compare without case. A device that names no version is older than any; a minimum that is no version
    admits nobody.
    """
    if eligibility.platforms:
        platform = request.device.platform.casefold()
        if all(platform != admitted.casefold() for admitted in eligibility.platforms):
            return False
    if eligibility.methods:
        methods = request.capabilities.get("methods")
        if not isinstance(methods, list) or not any(method in methods for method in eligibility.methods):
            return False
    if eligibility.app_version_min:
        version, least = version_numbers(request.device.app_version), version_numbers(eligibility.app_version_min)
        return version is not None and least is not None and version >= least
    return True


class JobTable:
    """The running jobs that are listed for devices: those whose ``meta`` has an ``edge_method``.

    ``jobs`` has them by id, and is one dict for good: only ``apply`` changes it.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, RunningJob] = {}
        self._by_name: dict[str, dict[str, RunningJob]] = {}

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[RunningJob]:
        return iter(self.jobs.values())

    def get(self, job_id: str) -> RunningJob | None:
        """The running job with this id."""
        return self.jobs.get(job_id)

    def match(self, request: JobRequest, rng: Random) -> RunningJob | None:
        """A running job of exactly the requested name that takes this device, drawn uniformly; None without one."""
        candidates = [
            job for job in self._by_name.get(request.job_name, {}).values() if admits(job.eligibility, request)
        ]
        if len(candidates) > 1:
            return rng.choice(candidates)
        return candidates[0] if candidates else None

    def apply(self, event: FeedEvent) -> str | None:
        """Change the table. What cannot be applied changes nothing and is returned as a complaint to log.

        A job launched again under its id takes the place of the first; a snapshot takes the place of everything.
        """
        match event:
            case JobLaunched(job):
                return self._launch(job)
            case JobCompleted(job_id) | JobCancelled(job_id) | JobFailed(job_id):
                return self._end(job_id, type(event).__name__)
            case TableSnapshot(jobs):
                self.jobs.clear()
                self._by_name.clear()
                complaints = [complaint for job in jobs if (complaint := self._launch(job))]
                return "; ".join(complaints) or None

    def _launch(self, job: RunningJob) -> str | None:
        if not job.job_id:
            return f'JobLaunched without a job id (name "{job.name}"): ignored'
        if not job.meta:
            return f'JobLaunched without meta for job "{job.job_id}": ignored'
        self._remove(job.job_id)
        if job.meta.get("edge_method"):
            self.jobs[job.job_id] = job
            self._by_name.setdefault(job.name, {})[job.job_id] = job
        return None

    def _end(self, job_id: str, event: str) -> str | None:
        if not job_id:
            return f"{event} without a job id: ignored"
        if not self._remove(job_id):
            return f'{event} for job "{job_id}", which is not running: ignored'
        return None

    def _remove(self, job_id: str) -> bool:
        job = self.jobs.pop(job_id, None)
        if job is None:
            return False
        namesakes = self._by_name[job.name]
        del namesakes[job_id]
        if not namesakes:
            del self._by_name[job.name]
        return True
