"""The published models that a device may still have to download, or a person wants."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from turnout.blobs.base import BlobRef
from turnout.job.places.leases import LiveLeases


class SavedModels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The blob of each version that was published, as of a commit."""

    blobs: tuple[tuple[int, BlobRef], ...] = ()


@dataclass(slots=True)
class Models:
    """The blob of each version that is the newest, is kept, or has a live lease."""

    _blobs: dict[int, BlobRef] = field(default_factory=dict)  # by version, ascending

    def has(self, version: int) -> bool:
        return version in self._blobs

    def of(self, version: int) -> BlobRef:
        return self._blobs[version]

    def newest(self) -> tuple[int, BlobRef] | None:
        return next(reversed(self._blobs.items()), None)

    def all(self) -> tuple[tuple[int, BlobRef], ...]:
        return tuple(self._blobs.items())

    def publish(self, version: int, blob: BlobRef) -> None:
        self._blobs[version] = blob

    def uses(self, blob: BlobRef) -> bool:
        """Two versions may be the same bytes."""
        return blob in self._blobs.values()

    def retire(self, versions: Iterable[int], live: LiveLeases, kept: Callable[[int], bool]) -> list[BlobRef]:
        """Forget those of ``versions`` that nobody needs any more and that are not ``kept``; returns their blobs."""
        if len(self._blobs) <= 1:
            return []
        newest = next(reversed(self._blobs))
        gone = [v for v in versions if v in self._blobs and v != newest and not live.on(v) and not kept(v)]
        return [self._blobs.pop(version) for version in gone]

    def save(self) -> SavedModels:
        return SavedModels(self.all())

    def load(self, saved: SavedModels) -> None:
        self._blobs = dict(saved.blobs)

    def withdraw(self, version: int) -> None:
        """The first commit of a process publishes the newest version again, when its file is there for sure."""
        self._blobs.pop(version, None)
