"""Which requests may wait for a job of FLARE, so that one that has fallen silent holds up nobody else. Pure.

A FLARE client answers devices from a fixed number of threads. Every request to a job keeps one until the job answers or
the request's time is over: a job that hangs would have them all. So a job is judged by its silence, and not by how many
ask it: while it answers, requests may wait for their turn; once it has said nothing for ``SILENCE_S``, a few ask on, at
least one of each kind, and the others are refused at once. A few, because a job may also be slow.

``now`` is in seconds of a clock that never goes back.
"""

from collections import Counter
from dataclasses import dataclass, field

SILENCE_S = 0.5  #: A job that was asked and said nothing for this long has fallen silent.
#: Of the threads that other jobs leave, what one job may have in flight: however many hang, the next one finds some
#: (the "dynamic threshold" of Choudhury and Hahne 1998, as in ``dispatcher/room.py``).
SHARE_MAX = 0.5
SILENT_SHARE_MAX = 0.1  #: The same while it is silent.


@dataclass(slots=True)
class _Job:
    inflight: Counter[str] = field(default_factory=Counter)  # by kind
    waiting: int = 0
    unanswered_since: float | None = None  # when it was asked what it has said nothing to, or when it last spoke

    def is_silent(self, now: float) -> bool:
        return self.unanswered_since is not None and now - self.unanswered_since >= SILENCE_S


class Silence:
    """What is in flight to each job and what waits for its turn; ``threads`` is how many there are for all of it."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._inflight = 0
        self._jobs: dict[str, _Job] = {}

    def ask(self, job_id: str, kind: str, now: float, *, waited: bool = False) -> float | None:
        """0: the request is in flight now. Else how long to wait at most before this is asked again with ``waited``,
        counted by ``wait``; None: do not wait, it is refused.
        """
        job = self._jobs.get(job_id)
        if job is None:
            job = self._jobs[job_id] = _Job()
        if job.is_silent(now):
            if job.inflight[kind] and not self._fits(job, SILENT_SHARE_MAX):
                return None
        elif (job.waiting and not waited) or (job.inflight.total() and not self._fits(job, SHARE_MAX)):
            return SILENCE_S if job.unanswered_since is None else job.unanswered_since + SILENCE_S - now
        self._inflight += 1
        job.inflight[kind] += 1
        if job.unanswered_since is None:
            job.unanswered_since = now
        return 0.0

    def _fits(self, job: _Job, share_max: float) -> bool:
        """Whether one more in flight to this job leaves the others their part."""
        own = job.inflight.total()
        return own + 1 <= share_max * (self._threads - (self._inflight - own))

    def wait(self, job_id: str, change: int) -> None:
        """One more waits for its turn (1), or one less (-1)."""
        self._jobs[job_id].waiting += change

    def waiting(self, job_id: str) -> int:
        """How many wait for their turn with this job."""
        job = self._jobs.get(job_id)
        return job.waiting if job is not None else 0

    def leave(self, job_id: str, kind: str, answered: bool, now: float) -> None:
        """A request that was in flight is over; ``answered``: the job has shown that it does not hang."""
        self._inflight -= 1
        job = self._jobs[job_id]
        job.inflight[kind] -= 1
        if answered:
            job.unanswered_since = now if job.inflight.total() else None

    def forget(self, job_id: str, running: bool) -> None:
        """Keep nothing of a job for which nothing is left to remember: one that answers, or is not ``running``."""
        job = self._jobs.get(job_id)
        if job is None or job.inflight.total() or job.waiting:
            return
        if not running or job.unanswered_since is None:
            del self._jobs[job_id]
