"""Room in memory for results, shared so that no job takes what the others need. Pure."""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

Resume: TypeAlias = Callable[[], None]


class Room:
    """The bytes of results that are held, by job, and who waits for more: first come, first served within a job.

    A job holds at most ``job_share_max`` of what the *other* jobs leave of ``bytes_max`` (the "dynamic threshold" of
    Choudhury and Hahne 1998, for packets in a switch). At one half, a lone job holds half of all, two hold a third
    each: however many jobs hang, the next one finds room, and no job waits behind another. A job that holds nothing
    may hold one result that fits into what is left, or, when nothing at all is held, one of any size.
    """

    def __init__(self, bytes_max: int, job_share_max: float) -> None:
        self._bytes_max = bytes_max
        self._job_share_max = job_share_max
        self._held = 0
        self._held_by: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, Resume]]] = {}
        self._resuming = False

    @property
    def held(self) -> int:
        """Bytes held by all jobs."""
        return self._held

    def fits(self, job_id: str, num_bytes: int) -> bool:
        """Whether this job may hold so much more."""
        of_job = self._held_by.get(job_id, 0)
        others = self._held - of_job
        if of_job:
            return of_job + num_bytes <= self._job_share_max * (self._bytes_max - others)
        return not others or others + num_bytes <= self._bytes_max

    def lets_in(self, job_id: str, num_bytes: int) -> bool:
        """Whether ``ask`` would enter this at once: it fits, and it passes nobody who waits."""
        return job_id not in self._waiting and self.fits(job_id, num_bytes)

    def enter(self, job_id: str, num_bytes: int) -> None:
        """Hold so much more, fits or not."""
        self._held += num_bytes
        self._held_by[job_id] = self._held_by.get(job_id, 0) + num_bytes

    def leave(self, job_id: str, num_bytes: int) -> None:
        """Hold so much less. Those who wait for it go on at the next ``resume``."""
        rest = self._held_by[job_id] - num_bytes
        assert rest >= 0, "more left than had entered"
        self._held -= num_bytes
        if rest:
            self._held_by[job_id] = rest
        else:
            del self._held_by[job_id]

    def ask(self, job_id: str, num_bytes: int, resume: Resume) -> bool:
        """Enter, or else wait: ``resume`` is then called once, when this has entered."""
        if self.lets_in(job_id, num_bytes):
            self.enter(job_id, num_bytes)
            return True
        self._waiting.setdefault(job_id, deque()).append((num_bytes, resume))
        return False

    def resume(self) -> None:
        """Let those go on for whom there is room now, one of each job in turn."""
        if self._resuming or not self._waiting:  # called from within a resume below, or needlessly
            return
        self._resuming = True
        try:
            while any(self._resume_first(job_id) for job_id in list(self._waiting)):
                pass
        finally:
            self._resuming = False

    def _resume_first(self, job_id: str) -> bool:
        num_bytes, resume = self._waiting[job_id][0]
        if not self.fits(job_id, num_bytes):
            return False
        waiting = self._waiting.pop(job_id)
        waiting.popleft()
        if waiting:
            self._waiting[job_id] = waiting  # behind the other jobs
        self.enter(job_id, num_bytes)
        resume()
        return True
