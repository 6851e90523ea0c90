"""The requests in flight to jobs: one book of them, with its deadlines and bounds. Pure.

Every entry leaves the book exactly once: settled by a reply, expired, or lost with its job. What takes it out owes its
context an answer.
"""

from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from turnout.dispatcher.room import Room
from turnout.messages import Topic

LARGE_BYTES = 1024 * 1024  #: A result's time grows with its size from here on.
_RESULT: Final = Topic.RESULT  # on the hot path: looking up a member of an enumeration is slow in Python 3.11
Context = TypeVar("Context")
_Entry: TypeAlias = tuple[float, str, int, Context]  # deadline, job id, bytes, context


@dataclass(frozen=True, slots=True)
class DispatcherLimits:
    """How much a gateway holds for its jobs, and for how long."""

    #: Requests in flight to one job, results apart. Above the devices that ask within one round trip to a busy job, and
    #: low enough that a job that hangs costs little until its requests have timed out.
    inflight_max: int = 4096
    #: A request that the job has not answered by then gets RETRY.
    request_timeout_s: float = 5.0
    #: The same for a result, which waits for its commit. Below the 10 s after which mobile clients hang up.
    result_timeout_s: float = 8.0
    #: A result of 1 MiB or more may take longer, by its size over this: it is copied, checked and added first.
    result_bytes_per_s_min: float = 16.0 * 1024 * 1024
    #: But no longer than this. With the wait for room it must be below the patience of proxies, and below the 20 s for
    #: which turnout's own devices wait for a byte.
    result_timeout_max_s: float = 15.0
    #: Results over all jobs, those in flight and those still being read. A single larger one goes when it goes alone.
    #: Four times the largest result, or more: a lone job then has two of them under way.
    results_bytes_max: int = 256 * 1024 * 1024
    #: A job holds at most this share of what the other jobs leave of it, so that one that hangs holds up only itself.
    job_results_share_max: float = 0.5
    #: Devices that were told RETRY in a job's place come back at this rate, results apart from other requests. What one
    #: gateway and its share of the job bear beside their other work.
    returns_per_s: float = 1000.0
    #: The longest such wait, about. Below the time in which devices send a result again.
    return_max_s: float = 300.0


class Pending(Generic[Context]):
    """Requests and results in flight, by ticket. ``context`` is whatever its owner needs to answer.

    Results take ``room``, which is shared with those that are still being read.

    All requests have one timeout and all small results another, so each dict is in the order of its deadlines, provided
    that ``now`` never decreases: what has expired is at the front, and expiry looks no further. Large results have a
    time each; expiry looks at all of them, which are as few as the room for results allows.
    """

    def __init__(self, limits: DispatcherLimits, room: Room) -> None:
        self._limits = limits
        self._room = room
        self._requests: dict[int, _Entry[Context]] = {}
        self._results: dict[int, _Entry[Context]] = {}
        self._large: dict[int, _Entry[Context]] = {}
        self._requests_of: dict[str, int] = {}
        self._results_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._requests) + len(self._results) + len(self._large)

    def count(self, job_id: str) -> int:
        """Requests and results in flight to this job."""
        return self._requests_of.get(job_id, 0) + self._results_of.get(job_id, 0)

    def add(
        self,
        ticket: int,
        job_id: str,
        topic: Topic,
        size_bytes: int,
        context: Context,
        now: float,
        has_room: bool = False,
    ) -> bool:
        """Enter a request that is about to be sent. False when its bound is reached: nothing was entered then.

        ``has_room``: there is room for this result. Room that was reserved before is released by its owner.
        """
        limits = self._limits
        if topic is _RESULT:
            if not has_room and not self._room.fits(job_id, size_bytes):
                return False
            if size_bytes < LARGE_BYTES:
                self._results[ticket] = (now + limits.result_timeout_s, job_id, size_bytes, context)
            else:
                self._large[ticket] = (now + result_timeout_s(limits, size_bytes), job_id, size_bytes, context)
            self._results_of[job_id] = self._results_of.get(job_id, 0) + 1
            self._room.use(job_id, size_bytes)
            return True
        inflight = self._requests_of.get(job_id, 0)
        if inflight >= limits.inflight_max:
            return False
        self._requests[ticket] = (now + limits.request_timeout_s, job_id, size_bytes, context)
        self._requests_of[job_id] = inflight + 1
        return True

    def settle(self, ticket: int) -> Context | None:
        """Take out what was answered; None when it had already left the book (or was never in it)."""
        entry, counts = self._requests.pop(ticket, None), self._requests_of
        if entry is None:
            entry, counts = self._results.pop(ticket, None) or self._large.pop(ticket, None), self._results_of
            if entry is None:
                return None
        _, job_id, size_bytes, context = entry
        if counts[job_id] == 1:
            del counts[job_id]  # a job without any leaves no trace
        else:
            counts[job_id] -= 1
        if counts is self._results_of:
            self._room.release(job_id, size_bytes)
        return context

    def expire(self, now: float) -> list[Context]:
        """Take out everything whose deadline has come: requests, then results, then large ones, each oldest first."""
        tickets = [ticket for book in (self._requests, self._results) for ticket in _overdue(book, now)]
        tickets += [ticket for ticket, entry in self._large.items() if entry[0] <= now]
        return self._settle_all(tickets)

    def lose(self, job_id: str) -> list[Context]:
        """Take out everything that was in flight to this job, in the order of ``expire``."""
        if not self.count(job_id):
            return []
        return self._settle_all(
            [
                ticket
                for book in (self._requests, self._results, self._large)
                for ticket, entry in book.items()
                if entry[1] == job_id
            ]
        )

    def _settle_all(self, tickets: list[int]) -> list[Context]:
        contexts = [self.settle(ticket) for ticket in tickets]
        return [context for context in contexts if context is not None]


def result_timeout_s(limits: DispatcherLimits, size_bytes: int) -> float:
    """How long a large result may wait for its answer: longer by its size, up to a bound."""
    longer_s = size_bytes / limits.result_bytes_per_s_min
    return max(min(limits.result_timeout_s + longer_s, limits.result_timeout_max_s), limits.result_timeout_s)


def _overdue(book: dict[int, _Entry[Context]], now: float) -> list[int]:
    """The tickets at the front of ``book`` whose deadline has come."""
    tickets = []
    for ticket, entry in book.items():
        if entry[0] > now:
            break
        tickets.append(ticket)
    return tickets
