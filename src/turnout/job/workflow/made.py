"""What each version is made of, and where every counted result went: into a version, or into none."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec


class SavedMade(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The numbers, as of a commit."""

    in_versions: int = 0
    measured: int = 0
    dropped: int = 0
    of_version: dict[int, int] = {}


@dataclass(slots=True)
class Made:
    """Numbers of results. Together with those in the open sum they are all that were counted."""

    in_versions: int = 0  #: Of all versions, also of those that nobody keeps.
    measured: int = 0  #: Of devices that measured the model only: no version is made of these.
    dropped: int = 0  #: Of steps that would have left the numbers: in no version, and in no sum any more.
    of_version: dict[int, int] = field(default_factory=dict)  #: Of the versions that are kept, where that is known.

    @property
    def total(self) -> int:
        return self.in_versions + self.measured + self.dropped

    def close(self, version: int, results: int) -> None:
        """``version`` is made of this many; of none, when it is an earlier one again."""
        self.in_versions += results
        self.of_version[version] = results

    def keep(self, kept: Callable[[int], bool]) -> None:
        """Forget the single numbers of versions that are not kept."""
        self.of_version = {version: results for version, results in self.of_version.items() if kept(version)}

    def left(self, buffered: int) -> int:
        """How many counted results are in no version, while ``buffered`` are in the open sum."""
        return buffered + self.dropped

    def words(self, buffered: int) -> str:
        """Says so to a person; empty when there are none."""
        left = self.left(buffered)
        if not left:
            return ""
        said = f"{left} counted results are in no version" if left > 1 else "1 counted result is in no version"
        return f"{said}, {self._of(left)} dropped where training diverged" if self.dropped else said

    def _of(self, left: int) -> str:
        if self.dropped < left:
            return f"{self.dropped} of them"
        return "all of them" if left > 1 else "and was"

    def save(self) -> SavedMade:
        return SavedMade(self.in_versions, self.measured, self.dropped, self.of_version.copy())

    def load(self, saved: SavedMade) -> None:
        self.in_versions, self.measured, self.dropped = saved.in_versions, saved.measured, saved.dropped
        self.of_version = dict(saved.of_version)
