"""When a job commits: which commit is under way, and when the next may be and must be."""

from dataclasses import dataclass, field

from turnout.job.core.states import (
    CommitHappened,
    CommitState,
    Doubtful,
    Failed,
    Idle,
    Writing,
    commit_moved,
)

INTERVAL_MULTIPLE = 3.0  #: Of the interval after a commit, in durations of its write: the next one gathers more.
INTERVAL_MIN_S = 0.005
INTERVAL_MAX_S = 1.0
#: When no result has come for this long, all devices that would send one may be waiting: the interval gathers nothing.
QUIET_S = 0.001
QUIET_MULTIPLE = 0.5  #: It is not cut shorter than this many durations.
QUIET_WRITE_MAX_S = 0.02  #: Nor after a write that took longer: what it writes is large, or the disk has much to do.
RETRY_COMMIT_S = 1.0  #: After a failed commit.


@dataclass(frozen=True, slots=True)
class Trouble:
    """What people are told of commits that fail, until one of the same kind succeeds.

    On a full disk small commits succeed at times, and those that make a version do not.
    """

    reason: str
    of_version: bool


@dataclass(slots=True)
class Commits:
    """One at a time, with an interval between them. Times are job time, in seconds."""

    last: int = 0  #: The number of the last durable one; they count from 1.
    state: CommitState = field(default_factory=Idle)
    trouble: Trouble | None = None
    staged_at: float = 0.0  #: When a result came last that the next commit will hold.
    save_at: float | None = None  #: What changed since the last one, beside results, is to be durable by then.

    @property
    def error(self) -> str:
        """Why the last one failed; empty when it did not."""
        return "" if isinstance(self.state, Idle) else self.state.error

    @property
    def doubtful(self) -> bool:
        return isinstance(self.state, Doubtful)

    @property
    def writing(self) -> Writing | None:
        """The one under way."""
        match self.state:
            case Writing():
                return self.state
            case Doubtful(writing):
                return writing
        return None

    @property
    def next(self) -> int:
        """The number of the first that holds what changes now."""
        return self.last + (1 if self.writing is None else 2)

    def save_by(self, at: float) -> None:
        """Something is to be durable by ``at``, though no result may come."""
        if self.save_at is None or at < self.save_at:
            self.save_at = at

    def possible(self, now: float) -> bool:
        """Whether one may begin at all; the interval is for those that can wait."""
        state = self.state
        return type(state) is Idle or (type(state) is Failed and now >= state.retry_at)

    def due(self, now: float, wanted: bool) -> bool:
        """Whether the next shall begin, if it is possible. ``wanted``: there is something to write at once."""
        at = self.when(wanted)
        return at is not None and now >= at

    def when(self, wanted: bool) -> float | None:
        """When it is due, unless another result comes; None while nothing is to be written."""
        state = self.state
        if type(state) is not Idle:
            return 0.0  # what failed is tried again as soon as that is possible
        if not wanted and self.save_at is None:
            return None
        interval_ends = min(state.next_at, max(state.early_at, self.staged_at + QUIET_S))
        return interval_ends if wanted or self.save_at is None else max(self.save_at, interval_ends)

    def begin(self, writing: Writing) -> None:
        self.save_at = None
        self._to(CommitHappened.BEGUN, writing)

    def done(self, took_s: float, now: float) -> Writing:
        """It is durable."""
        writing = self.writing
        interval_ends = now + min(max(INTERVAL_MULTIPLE * took_s, INTERVAL_MIN_S), INTERVAL_MAX_S)
        early_at = now + QUIET_MULTIPLE * took_s if took_s <= QUIET_WRITE_MAX_S else interval_ends
        self._to(CommitHappened.DURABLE, Idle(early_at, interval_ends))
        assert writing is not None, "that state was left"
        self.last = writing.snapshot.commit
        if self.trouble is not None and (writing.closes or not self.trouble.of_version):
            self.trouble = None
        return writing

    def doubt(self, reason: str) -> None:
        """It failed, and nothing tells yet whether it happened."""
        writing = self.writing
        assert writing is not None, "one is under way"
        self._to(CommitHappened.DOUBTED, Doubtful(writing, reason))

    def failed(self, reason: str, now: float) -> Writing:
        """It did not happen."""
        writing = self.writing
        self._to(CommitHappened.FAILED, Failed(reason, now + RETRY_COMMIT_S))
        assert writing is not None, "that state was left"
        return writing

    def _to(self, happened: CommitHappened, after: CommitState) -> None:
        self.state = commit_moved(self.state, happened, after)
