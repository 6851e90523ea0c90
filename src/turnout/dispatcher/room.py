"""Room in memory for results, shared so that no job takes what the others need. Pure."""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

Resume: TypeAlias = Callable[[], None]


class Room:
    """The bytes of results that are in use, by job, and who waits for more: first come, first served within a job.

    A job uses at most ``job_share_max`` of what the *other* jobs leave of ``bytes_max`` (the "dynamic threshold" of
    Choudhury and Hahne 1998, for packets in a switch). At one half, a lone job uses half of all, two use a third
    each: however many jobs hang, the next one finds room, and no job waits behind another. A job that uses nothing
    may use it for one result that fits into what is left, or, when nothing at all is in use, for one of any size.
    """

    def __init__(self, bytes_max: int, job_share_max: float) -> None:
        self._bytes_max = bytes_max
        self._job_share_max = job_share_max
        self.used = 0  #: Bytes in use by all jobs.
        self._used_by: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, Resume]]] = {}
        self._resuming = False

    def fits(self, job_id: str, num_bytes: int, first: bool = False) -> bool:
        """Whether ``reserve`` would reserve this at once: there is room for it, and it passes nobody who waits.

        ``first``: it is the first of those who wait.
        """
        if job_id in self._waiting and not first:
            return False
        of_job = self._used_by.get(job_id, 0)
        others = self.used - of_job
        if of_job:
            return of_job + num_bytes <= self._job_share_max * (self._bytes_max - others)
        return not others or others + num_bytes <= self._bytes_max

    def reserve(self, job_id: str, num_bytes: int, resume: Resume) -> bool:
        """Use this much more, or else wait: ``resume`` is then called once, when it *has been reserved*.

        Either way give it back with ``release``. Reserve for the job "" while it is not known whose result it will be.
        """
        if self.fits(job_id, num_bytes):
            self.use(job_id, num_bytes)
            return True
        self._waiting.setdefault(job_id, deque()).append((num_bytes, resume))
        return False

    def use(self, job_id: str, num_bytes: int) -> None:
        """Use this much more, whether it fits or not."""
        self.used += num_bytes
        self._used_by[job_id] = self._used_by.get(job_id, 0) + num_bytes

    def release(self, job_id: str, num_bytes: int) -> None:
        """Use this much less; those that wait and fit now are resumed."""
        rest = self._used_by[job_id] - num_bytes
        assert rest >= 0, "more was released than reserved"
        self.used -= num_bytes
        if rest:
            self._used_by[job_id] = rest
        else:
            del self._used_by[job_id]
        if self._waiting and not self._resuming:  # else called from within a resume below
            self._resume()

    def _resume(self) -> None:
        """Resume those that fit now, one of each job in turn."""
        self._resuming = True
        try:
            while any(self._resume_first(job_id) for job_id in list(self._waiting)):
                pass
        finally:
            self._resuming = False

    def _resume_first(self, job_id: str) -> bool:
        num_bytes, resume = self._waiting[job_id][0]
        if not self.fits(job_id, num_bytes, first=True):
            return False
        waiting = self._waiting.pop(job_id)
        waiting.popleft()
        if waiting:
            self._waiting[job_id] = waiting  # behind the other jobs
        self.use(job_id, num_bytes)
        resume()
        return True
