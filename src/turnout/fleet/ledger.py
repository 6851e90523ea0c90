"""What a fleet's devices sent and what they were told of it, in a file: one line of JSON for each result and answer.

A line is written before the result leaves, and before the device acts on the answer, so that a check of the whole
system can hold the server to every word of it.
"""

import os
from pathlib import Path

import msgspec

from turnout.errors import TurnoutError
from turnout.messages import Message, ResultReport, ResultResponse
from turnout.storage import private

_encode = msgspec.json.Encoder().encode


class Sent(Message, frozen=True, tag=True):
    """One sending of a result: no task that has no such line can have been counted."""

    device_id: str
    index: int
    task_id: str


class Told(Message, frozen=True, tag=True):
    """One answer to one sending of a result. ``task_id`` is the result's own; ``index`` is the device's number."""

    device_id: str
    index: int
    task_id: str
    status: str
    counted: bool
    duplicate: bool = False
    message: str = ""


_decoder = msgspec.json.Decoder(Sent | Told)


class Ledger:
    """Appends to a file, a line with one write: a reader finds whole lines, whenever it looks."""

    def __init__(self, path: Path) -> None:
        self._fd = private.create(path, os.O_WRONLY | os.O_APPEND)

    def sends(self, index: int, report: ResultReport) -> None:
        """The device with this number is about to send this."""
        self._write(Sent(report.device.device_id, index, report.task_id))

    def add(self, index: int, report: ResultReport, response: ResultResponse) -> None:
        """The device with this number was told this."""
        told = Told(
            report.device.device_id, index, report.task_id,
            response.status, response.counted, response.duplicate, response.message or "",
        )  # fmt: skip
        self._write(told)

    def _write(self, line_of: Sent | Told) -> None:
        line = _encode(line_of) + b"\n"
        written = os.write(self._fd, line)
        if written != len(line):
            raise TurnoutError("the disk of the fleet's ledger is full")

    def close(self) -> None:
        """No more will be told."""
        os.close(self._fd)


def decode(lines: bytes) -> list[Sent | Told]:
    """Whole lines of a ledger, in their order."""
    return _decoder.decode_lines(lines)


def read(path: Path) -> list[Told]:
    """All answers in a ledger, in the order in which the devices were told."""
    return [line for line in decode(path.read_bytes()) if isinstance(line, Told)]
