"""Which tasks are already counted: one bit a task, kept as long as somebody may still ask.

Task numbers count up and a new version starts a new range, so a version's tasks are one run of numbers and its bitmap
starts at the first of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from turnout.job.places.rows import Row, Rows, Table

CountedVersion = tuple[int, int, float, bytes]  #: (version, first task, keep until, bitmap), as a snapshot holds it.
_MASK = 2**64 - 1
_MIX = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)  # the constants of MurmurHash3's 64-bit finalizer


def mixed(task: int) -> int:
    """A task number as 64 bits that look random, so that an XOR of many shows if any is missing or strange."""
    bits = task + 1
    for factor in _MIX:
        bits = (bits ^ bits >> 33) * factor & _MASK
    return bits ^ bits >> 33


def keys(versions: Iterable[CountedVersion]) -> tuple[int, int]:
    """How many tasks are counted in these bitmaps, and the XOR of their ``mixed`` numbers; read from the bits."""
    count, checksum = 0, 0
    for _, first_task, _, bitmap in versions:
        bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")
        tasks = np.flatnonzero(bits).astype(np.uint64) + np.uint64(first_task + 1)
        for factor in _MIX:
            tasks = (tasks ^ (tasks >> np.uint64(33))) * np.uint64(factor)
        count += tasks.size
        checksum ^= int(np.bitwise_xor.reduce(tasks ^ (tasks >> np.uint64(33))))
    return count, checksum


def _value(row: Row) -> CountedVersion:
    version: CountedVersion = msgspec.convert(row, CountedVersion)
    return version


COUNTED: Table[int, CountedVersion] = Table(
    "counted", ("version", "first_task", "keep_until", "bits"), lambda rows: [*rows.values()], _value
)


class SavedCounted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the bitmaps hold, as of a commit: a sum and bitmaps that are not of one commit show."""

    tasks: int = 0  #: How many tasks are counted in them,
    checksum: int = 0  #: and the XOR of their ``mixed`` numbers.


@dataclass(slots=True)
class _Version:
    first_task: int
    keep_until: float
    bits: bytearray


class CountedTasks:
    """The bitmaps of the versions whose results may still come or come again."""

    def __init__(self, versions: Iterable[CountedVersion] = ()) -> None:
        versions = tuple(versions)
        self._versions = {each[0]: _Version(each[1], each[2], bytearray(each[3])) for each in versions}
        self._changed: set[int] = set()  # versions, since ``rows`` was called last
        self._gone: set[int] = set()
        self._told = False  # what is in neither is as in the last commit, or the one under way
        self.tasks, self.checksum = keys(versions)

    def save(self) -> SavedCounted:
        return SavedCounted(self.tasks, self.checksum)

    def load(self, saved: SavedCounted) -> None:
        self.tasks, self.checksum = saved.tasks, saved.checksum

    def rows(self) -> Rows[int, CountedVersion]:
        """The versions that changed or went since this was called last; all, when nobody knows."""
        changed = self._changed if self._told else self._versions
        rows = Rows({version: self._row(version) for version in changed}, self._gone, whole=not self._told)
        self._changed, self._gone, self._told = set(), set(), True
        return rows

    def load_rows(self, rows: Mapping[int, CountedVersion]) -> None:
        self._versions = {each[0]: _Version(each[1], each[2], bytearray(each[3])) for _, each in sorted(rows.items())}
        self.lose_changes()

    def lose_changes(self) -> None:
        """The commit that they were for did not happen."""
        self._told = False

    def _row(self, version: int) -> CountedVersion:
        kept = self._versions[version]
        return version, kept.first_task, kept.keep_until, bytes(kept.bits)

    def open(self, version: int, first_task: int) -> None:
        """A new version begins; its tasks are numbered from ``first_task``."""
        assert version not in self._versions
        self._versions[version] = _Version(first_task, 0.0, bytearray())
        self._changed.add(version)

    def versions(self) -> tuple[int, ...]:
        return tuple(self._versions)

    def knows(self, version: int) -> bool:
        """False: too old to know. No answer about its tasks would be sure to be right."""
        return version in self._versions

    def numbered(self, version: int, task: int, next_task: int) -> bool:
        """Whether ``task`` is one of those of a known ``version``; ``next_task`` has not been given out yet."""
        after = self._versions.get(version + 1)
        return self._versions[version].first_task <= task < (next_task if after is None else after.first_task)

    def keep(self, version: int, until: float) -> None:
        """Remember ``version`` at least until then (job time)."""
        kept = self._versions[version]
        if until > kept.keep_until:
            kept.keep_until = until
            self._changed.add(version)

    def has(self, version: int, task: int) -> bool:
        kept = self._versions.get(version)
        if kept is None:
            return False
        place = task - kept.first_task
        return 0 <= place < 8 * len(kept.bits) and kept.bits[place >> 3] >> (place & 7) & 1 == 1

    def add(self, version: int, task: int) -> None:
        kept = self._versions[version]
        byte, bit = divmod(task - kept.first_task, 8)
        assert byte >= 0, "a task below the first of its version"
        if byte >= len(kept.bits):
            kept.bits.extend(bytes(byte + 1 - len(kept.bits)))
        kept.bits[byte] |= 1 << bit
        self._changed.add(version)
        self.tasks += 1
        self.checksum ^= mixed(task)

    def forget(self, version_min: int, now: float) -> None:
        """Drop versions below ``version_min`` whose last lease and resend window have passed, oldest first.

        Stops at the first that must stay, so that the cost is in what goes and not in what is kept.
        """
        while self._versions:
            oldest = next(iter(self._versions))
            if oldest >= version_min or self._versions[oldest].keep_until > now:
                return
            gone = self._versions.pop(oldest)
            self._changed.discard(oldest)
            self._gone.add(oldest)
            tasks, checksum = keys([(oldest, gone.first_task, gone.keep_until, bytes(gone.bits))])
            self.tasks -= tasks
            self.checksum ^= checksum
