"""A result that nobody has acknowledged, in a file: the next process of this device sends it again.

One file of one device holds at most one result. It is there before the result is sent for the first time, so it does
not matter how the process ends; sending it once more than needed does no harm, for the job knows what it has counted.
"""

import logging
import zlib
from pathlib import Path

import msgspec

from turnout.device.session import Saved
from turnout.errors import TurnoutError
from turnout.messages import Message, ModelSchema, Status
from turnout.storage import durable, private
from turnout.wire.tensors import num_parameters

log = logging.getLogger(__name__)

FORMAT = 1
BYTES_MAX = 2**32  #: A larger file is none of ours.
FLOAT_BYTES = 4


class KeptResult(Message, frozen=True):
    """``crc`` is that of the update; ``schema`` is of the model it was trained from."""

    saved: Saved
    schema: ModelSchema
    crc: int
    form: int = FORMAT


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KeptResult)


class KeptFile:
    """The file; all of it blocks for the disk."""

    def __init__(self, path: Path, device_id: str) -> None:
        self._path = path
        self._device_id = device_id

    def read(self) -> KeptResult | None:
        """What an earlier process left; None when there is nothing, or nothing that can be sent.

        Raises TurnoutError when it is another device's: two that share a file would lose each other's results.
        """
        try:
            private.discard_unfinished(self._path.parent, self._path.name)
            if self._path.stat().st_size > BYTES_MAX:
                raise ValueError("it is too large")
            kept = _decoder.decode(self._path.read_bytes())
            self._check(kept)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:  # msgspec's errors are among them
            log.warning("the result kept in %s cannot be sent again: %s", self._path, error)
            return None
        owner = kept.saved.report.device.device_id
        if owner != self._device_id:
            raise TurnoutError(f"{self._path} keeps a result of device {owner}: give each device a file of its own")
        return kept

    def write(self, saved: Saved, schema: ModelSchema) -> None:
        """Keep this one, durable when it returns. If the disk refuses, it is logged and the device continues."""
        kept = KeptResult(saved, schema, zlib.crc32(saved.report.update))
        try:
            durable.write(self._path, _encoder.encode(kept))
        except OSError as error:
            log.warning("a result cannot be kept in %s, so it may be lost with this process: %s", self._path, error)

    def remove(self) -> None:
        """It has its answer."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:  # it is sent once more by the next process, and known to be counted
            log.warning("%s cannot be removed: %s", self._path, error)

    @staticmethod
    def _check(kept: KeptResult) -> None:
        report = kept.saved.report
        if kept.form != FORMAT:
            raise ValueError(f"it has format {kept.form}; this one knows {FORMAT}")
        if report.status != Status.OK or len(report.update) != FLOAT_BYTES * num_parameters(kept.schema):
            raise ValueError("it is not an update of its model")
        if zlib.crc32(report.update) != kept.crc:
            raise ValueError("it is damaged")
