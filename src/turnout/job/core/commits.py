"""When a job commits: which commit is under way, and when the next may be and must be."""

from dataclasses import dataclass

from turnout.blobs.base import BlobRef
from turnout.job.core.ending import Ending
from turnout.job.journal.journal import Snapshot

PAUSE_MULTIPLE = 3.0  #: Pause after a commit, in durations of its write, so that the next one gathers more results.
PAUSE_MIN_S = 0.005
PAUSE_MAX_S = 1.0
QUIET_S = (
    0.001  #: When no result has come for so long, all who would send one may be waiting: the pause gathers nothing.
)
QUIET_MULTIPLE = 0.5  #: It is not cut shorter than this many durations.
QUIET_WRITE_MAX_S = 0.02  #: Nor after a write that took longer: what it writes is large, or the disk has much to do.
RETRY_COMMIT_S = 1.0  #: After a failed commit.


@dataclass(slots=True)
class InFlight:
    """The commit under way."""

    snapshot: Snapshot
    closes: bool  #: A version.
    retired: list[BlobRef]  #: What no device needs once it is durable.
    ending: Ending | None
    since: float  #: Job time.
    doubtful: bool = False  #: It failed, and whether it happened all the same is being found out.


@dataclass(slots=True)
class Commits:
    """One at a time, with a pause between them. Times are job time, in seconds."""

    last: int = 0  #: The number of the last durable one; they count from 1.
    under_way: InFlight | None = None
    error: str = ""  #: Why the last one failed; empty when it did not.
    #: For people: as ``error``, but until one of the same kind succeeds. On a full disk small ones do at times, and
    #: those that make a version do not.
    trouble: str = ""
    _version_failed: bool = False
    _next_at: float = 0.0  # the end of the pause
    _early_at: float = 0.0  # its end if it is quiet
    _staged_at: float = 0.0  # when a result came last
    _retry_at: float = 0.0  # none before this: the last one failed
    _save_at: float | None = None  # what changed since the last one, beside results, is to be durable by then

    @property
    def doubtful(self) -> bool:
        return self.under_way is not None and self.under_way.doubtful

    @property
    def next(self) -> int:
        """The number of the first that holds what changes now."""
        return self.last + (1 if self.under_way is None else 2)

    def save_by(self, at: float) -> None:
        """Something is to be durable by ``at``, though no result may come."""
        if self._save_at is None or at < self._save_at:
            self._save_at = at

    @property
    def save_wanted(self) -> bool:
        """Whether something beside results is to be made durable."""
        return self._save_at is not None

    def staged(self, now: float) -> None:
        """A result came that the next commit will hold."""
        self._staged_at = now

    def possible(self, now: float) -> bool:
        """Whether one may begin at all; the pause is for those that can wait."""
        return self.under_way is None and now >= self._retry_at

    def due(self, now: float, wanted: bool) -> bool:
        """Whether the next shall begin, if it is possible. ``wanted``: there is something to write at once."""
        return now >= self._pause_ends() and (self._wanted(wanted) or self._save_due(now))

    def when(self, now: float, wanted: bool) -> float | None:
        """When ``due`` will say so; None while nothing is to be written."""
        if self._wanted(wanted):
            return self._pause_ends()
        return None if self._save_at is None else max(self._save_at, self._pause_ends())

    def retry_at(self, now: float) -> float | None:
        """When the next is possible, after one that failed; None if that is not what it waits for."""
        return self._retry_at if self.under_way is None and now < self._retry_at else None

    def _pause_ends(self) -> float:
        """Unless another result comes."""
        return min(self._next_at, max(self._early_at, self._staged_at + QUIET_S))

    def _wanted(self, wanted: bool) -> bool:
        return wanted or bool(self.error)

    def _save_due(self, now: float) -> bool:
        return self._save_at is not None and now >= self._save_at

    def begin(self, inflight: InFlight) -> None:
        assert self.under_way is None, "one commit at a time"
        self._save_at = None
        self.under_way = inflight

    def done(self, took_s: float, now: float) -> InFlight:
        """It is durable."""
        inflight = self._end()
        self.error = ""
        if inflight.closes or not self._version_failed:
            self.trouble, self._version_failed = "", False
        self.last = inflight.snapshot.commit
        self._next_at = now + min(max(PAUSE_MULTIPLE * took_s, PAUSE_MIN_S), PAUSE_MAX_S)
        self._early_at = now + QUIET_MULTIPLE * took_s if took_s <= QUIET_WRITE_MAX_S else self._next_at
        return inflight

    def failed(self, now: float) -> InFlight:
        """It did not happen."""
        self._retry_at = now + RETRY_COMMIT_S
        inflight = self._end()
        self._version_failed |= inflight.closes
        return inflight

    def _end(self) -> InFlight:
        assert self.under_way is not None
        inflight, self.under_way = self.under_way, None
        return inflight
