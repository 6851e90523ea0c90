"""Which tasks are already counted: one bit a task, kept as long as somebody may still ask.

Task numbers count up and a new version starts a new range, so a version's tasks are one run of numbers and its bitmap
starts at the first of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class _Version:
    first_task: int
    keep_until: float
    bits: bytearray


CountedVersion = tuple[int, int, float, bytes]  #: (version, first task, keep until, bitmap), as a snapshot holds it.


class CountedTasks:
    """The bitmaps of the versions whose results may still come or come again."""

    def __init__(self, versions: Iterable[CountedVersion] = ()) -> None:
        self._versions = {v: _Version(first, keep, bytearray(bits)) for v, first, keep, bits in versions}

    def snapshot(self) -> tuple[CountedVersion, ...]:
        return tuple((v, kept.first_task, kept.keep_until, bytes(kept.bits)) for v, kept in self._versions.items())

    def open(self, version: int, first_task: int) -> None:
        """A new version begins; its tasks are numbered from ``first_task``."""
        assert version not in self._versions
        self._versions[version] = _Version(first_task, 0.0, bytearray())

    def knows(self, version: int) -> bool:
        """False: too old to know. No answer about its tasks would be sure to be right."""
        return version in self._versions

    def keep(self, version: int, until: float) -> None:
        """Remember ``version`` at least until then (job time)."""
        kept = self._versions[version]
        kept.keep_until = max(kept.keep_until, until)

    def has(self, version: int, task: int) -> bool:
        kept = self._versions.get(version)
        if kept is None:
            return False
        byte, bit = divmod(task - kept.first_task, 8)
        return 0 <= byte < len(kept.bits) and bool(kept.bits[byte] >> bit & 1)

    def add(self, version: int, task: int) -> None:
        kept = self._versions[version]
        byte, bit = divmod(task - kept.first_task, 8)
        assert byte >= 0, "a task below the first of its version"
        if byte >= len(kept.bits):
            kept.bits.extend(bytes(byte + 1 - len(kept.bits)))
        kept.bits[byte] |= 1 << bit

    def forget(self, version_min: int, now: float) -> None:
        """Drop versions below ``version_min`` whose last lease and resend window have passed, oldest first.

        Stops at the first that must stay, so that the cost is in what goes and not in what is kept.
        """
        while self._versions:
            oldest = next(iter(self._versions))
            if oldest >= version_min or self._versions[oldest].keep_until > now:
                return
            del self._versions[oldest]

    def count(self) -> int:
        """How many tasks are counted, over all versions kept."""
        return sum(int.from_bytes(kept.bits).bit_count() for kept in self._versions.values())
