"""The disk under the job's journal and models, in virtual time: it may be full, slow, or wrong about what it did."""

import errno
import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from random import Random

from turnout.blobs.base import BlobRef
from turnout.job.journal.journal import DiskError, Snapshot
from turnout.sim.checker import Checker
from turnout.sim.kept import Kept
from turnout.sim.loop import VirtualLoop
from turnout.sim.weather import Point, Weather

SLOW_COMMIT_S = 3.0  #: Mean of what a commit takes longer while the disk is slow; a gateway waits 8 s for its answer.
ERRORS_IN_A_ROW = (2, 5)
UNREADABLE = 0.1  #: Share of reads of a model that fail.


class Write(Enum):
    """What becomes of a commit."""

    DONE = "it is on disk"
    FAILED = "it is not, and an error says so"
    DOUBTFUL = "it is, and yet there was an error"


@dataclass(slots=True)
class Disk:
    loop: VirtualLoop
    rng: Random
    weather: Weather
    full_until: float = 0.0
    slow_until: float = 0.0
    _errors: int = 0  # still to come in a row

    def fill(self) -> None:
        self.full_until = self.loop.now + self.weather.full_for_s

    def slow_down(self) -> None:
        self.slow_until = self.loop.now + self.weather.slow_for_s

    def mend(self) -> None:
        """The faults have stopped."""
        self.full_until = self.slow_until = self.loop.now
        self._errors = 0

    @property
    def full(self) -> bool:
        return self.loop.now < self.full_until

    def takes_s(self) -> float:
        """How long the next commit takes."""
        slow_s = self.rng.expovariate(1 / SLOW_COMMIT_S) if self.loop.now < self.slow_until else 0.0
        return self.rng.expovariate(1 / self.weather.commit_s) + slow_s

    def write(self) -> Write:
        if self.full:
            return Write.FAILED
        if self._errors:
            self._errors -= 1
            return Write.FAILED if self._errors else Write.DOUBTFUL
        drawn = self.rng.random()
        if drawn < self.weather.commit_fails:
            if self.rng.random() < self.weather.errors_repeat:
                self._errors = self.rng.randint(*ERRORS_IN_A_ROW)
            return Write.FAILED
        return Write.DOUBTFUL if drawn < self.weather.commit_fails + self.weather.commit_doubtful else Write.DONE

    def readable(self) -> bool:
        return self.rng.random() >= self.weather.unreadable


class FaultyJournal:
    """The journal as one process holds it: calls fail, or say so; what reaches the disk is checked at once."""

    def __init__(self, kept: Kept, disk: Disk, checker: Checker, survive: Callable[[Point], None]) -> None:
        self.dying = False  #: Its process is being killed.
        self.written = False  #: The last commit is on the disk, and its process need not know.
        self.durable = kept.durable
        self.key, self.incarnation = kept.key, kept.incarnation
        self.close, self.leave = kept.close, kept.leave
        self._kept, self._disk, self._checker, self._survive = kept, disk, checker, survive
        self._found: Snapshot | None = None  # at the start
        self._fresh = True  # it has committed nothing

    def load(self) -> Snapshot | None:
        self._survive(Point.READING)
        if not self._disk.readable():
            self._checker.seen["journals not readable"] += 1
            raise DiskError(errno.EIO, "simulated")
        found = self._kept.load()
        self._checker.loaded(found)
        self._found = found if self._fresh else None
        return found

    def commit(self, snapshot: Snapshot) -> None:
        if self.dying:
            if (durable := self._kept.die(snapshot, self._disk.rng)) is not None:
                self._checker.committed(durable)
            return
        self._fresh = False
        if self._found is not None:
            found, self._found = self._found, None
            self._checker.recovered(found, snapshot)
        self._survive(Point.WRITING)
        outcome = self._disk.write()
        self._checker.seen[f"commits: {outcome.name}"] += 1
        if outcome is Write.FAILED:
            self._kept.fail(snapshot, self._disk.rng)
        else:
            self._kept.commit(snapshot)
        self.written = True
        self._checker.committed(snapshot)
        self._checker.reads_back(self._kept.shown())
        self._survive(Point.WRITTEN)
        if outcome is not Write.DONE:
            raise DiskError(errno.EIO, "simulated")


class SimBlobs:
    """The models on that disk."""

    def __init__(self, disk: Disk, checker: Checker) -> None:
        self._disk, self._checker = disk, checker
        self._files = checker.blobs

    def put(self, data: bytes, allow: Callable[[int], None]) -> BlobRef:
        ref = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
        if ref.sha256 not in self._files:
            allow(len(data))
            if self._disk.full:
                self._checker.seen[f"commits: {Write.FAILED.name}"] += 1
                raise DiskError(errno.ENOSPC, "simulated")
            self._files[ref.sha256] = data
        return ref

    def read(self, ref: BlobRef) -> bytes:
        if self._disk.rng.random() < UNREADABLE:
            raise DiskError(errno.EIO, "simulated")
        self._checker.seen["models read again"] += 1
        return self._files[ref.sha256]

    def drop(self, ref: BlobRef) -> None:
        self._checker.dropped(ref)
        self._files.pop(ref.sha256, None)

    def keep_only(self, wanted: Collection[str]) -> None:
        for sha256 in self._files.keys() - set(wanted):
            self.drop(BlobRef(sha256, len(self._files[sha256])))
