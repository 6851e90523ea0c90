"""When the devices that a gateway itself told RETRY shall come back. Pure.

A job that is down cannot say when. Told a fixed wait, everybody who asked within a minute's outage would be back within
seconds of each other, again and again. So they get appointments one after the other, as a job gives them out
(``job/places/pacing.py``): however many they are, they come at a rate that a gateway and a job bear.
"""

from collections.abc import Callable
from random import Random
from typing import TypeAlias

SPREAD = 0.2  #: Share of an appointment's distance by which it is blurred: gateways keep their books apart.

_Book: TypeAlias = tuple[str, bool]  # job, and whether it is that of results: those are work done, and do not queue
#                                      behind devices that ask


class Returns:
    """``per_s`` devices of a job's book come back each second; nobody is sent away for much longer than ``max_s``."""

    def __init__(self, per_s: float, max_s: float, rng: Random) -> None:
        self._step_s = 1.0 / per_s
        self._max_s = max_s
        self._rng = rng
        self._next_free: dict[_Book, float] = {}

    def wait(self, job_id: str, of_result: bool, at_least_s: float, now: float) -> float:
        """How long the next device shall wait: from once to twice ``at_least_s``, and its time in the queue."""
        book = job_id, of_result
        free = min(max(self._next_free.get(book, now), now) + self._step_s, now + self._max_s)
        self._next_free[book] = free
        return at_least_s * (1.0 + self._rng.random()) + (free - now) * (1.0 + SPREAD * self._rng.random())

    def forget_unless(self, runs: Callable[[str], bool]) -> None:
        """Drop the books of jobs that ended."""
        self._next_free = {book: free for book, free in self._next_free.items() if runs(book[0])}
