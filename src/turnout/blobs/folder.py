"""Models as immutable files named by their sha256, where the gateways of this machine find them."""

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path

from turnout.blobs.base import SUFFIX, BlobRef
from turnout.storage import durable, private
from turnout.wire.forms import EXECUTORCH

EXPORT_SUFFIX = EXECUTORCH.suffix  #: Of what was made of a model, beside it and under its name.


class BlobStore:
    """One folder of blobs. A file that is there under its final name is whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}{SUFFIX}"

    def put(self, data: bytes, allow: Callable[[int], None] = lambda num_bytes: None) -> BlobRef:
        """Store ``data``; durable when this returns. Blocks for the disk: not to be called on the event loop.

        ``allow`` is asked before that many bytes are added, and raises OSError when they may not be.
        """
        ref = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
        target = self.path(ref.sha256)
        if target.exists() and target.stat().st_size == ref.num_bytes:
            return ref
        allow(ref.num_bytes)
        durable.write(target, data)
        return ref

    def read(self, ref: BlobRef) -> bytes:
        """A model. Raises OSError, also when it is not what was stored."""
        path = self.path(ref.sha256)
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise OSError(f"{path} is damaged: its sha256 is not its name")
        return data

    def drop(self, ref: BlobRef) -> None:
        """Remove a model, and what was made of it."""
        self.path(ref.sha256).unlink(missing_ok=True)
        self.drop_export(ref.sha256)

    def has_export(self, sha256: str) -> bool:
        """Whether there is the file that was made of this model."""
        return self._export(sha256).is_file()

    def put_export(self, sha256: str, data: bytes, allow: Callable[[int], None]) -> None:
        """Store what was made of a model, as ``put`` does a model."""
        allow(len(data))
        durable.write(self._export(sha256), data)

    def drop_export(self, sha256: str) -> None:
        self._export(sha256).unlink(missing_ok=True)

    def _export(self, sha256: str) -> Path:
        return self.folder / f"{sha256}{EXPORT_SUFFIX}"

    def keep_only(self, wanted: Collection[str]) -> None:
        """Remove what an earlier process left, but for the blobs named in ``wanted`` and what was made of them."""
        private.discard_unfinished(self.folder)
        for file in self.folder.iterdir():
            if file.suffix in (SUFFIX, EXPORT_SUFFIX) and file.stem not in wanted:
                file.unlink(missing_ok=True)
