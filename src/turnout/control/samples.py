"""How each running job does, second by second: what charts are drawn from. In memory, and bounded."""

from collections import deque

from turnout.client.view import Sample
from turnout.control.traffic import Traffic
from turnout.messages import JobStatus

SAMPLES_MAX = 3600  #: Of one job: an hour.
SAMPLES_ALL_MAX = 100_000  #: Of all jobs, some 150 MB; beyond it the job with most loses its oldest.


def sample_of(status: JobStatus, traffic: Traffic, at: float) -> Sample:
    """A job's account of itself as a sample."""
    return Sample(
        at=at,
        state=status.state,
        version=status.version,
        buffered=status.buffered,
        goal=status.goal,
        places=status.places,
        training=status.training,
        waiting=status.waiting,
        lost=status.lost,
        counted=status.counted,
        duplicates=status.duplicates,
        refused=status.refused,
        staleness=status.staleness,
        requests_per_s=round(traffic.requests_per_s, 1),
        latency_ms=traffic.latency_ms,
        ack_ms=status.ack_ms,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
        waiting_for=status.waiting_for,
        paused_by=status.paused_by,
    )


class Samples:
    """The last samples of each job, oldest first."""

    def __init__(self, each_max: int = SAMPLES_MAX, all_max: int = SAMPLES_ALL_MAX) -> None:
        self._each_max = each_max
        self._all_max = all_max
        self._count = 0
        self._of: dict[str, deque[Sample]] = {}

    def add(self, job_id: str, sample: Sample) -> None:
        ring = self._of.setdefault(job_id, deque())
        ring.append(sample)
        self._count += 1
        if len(ring) > self._each_max:
            self._drop(ring)
        if self._count > self._all_max:
            self._drop(max(self._of.values(), key=len))

    def since(self, job_id: str, at: float) -> list[Sample]:
        """Those later than ``at``."""
        return [sample for sample in self._of.get(job_id, ()) if sample.at > at]

    def newest(self, job_id: str) -> Sample | None:
        ring = self._of.get(job_id)
        return ring[-1] if ring else None

    def forget(self, job_id: str) -> None:
        """The job was deleted."""
        self._count -= len(self._of.pop(job_id, ()))

    def _drop(self, ring: deque[Sample]) -> None:
        ring.popleft()
        self._count -= 1
