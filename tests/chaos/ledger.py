"""What the devices sent and what they were told, read from the fleet's ledger while it grows."""

import struct
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from pathlib import Path

from turnout.fleet.ledger import Sent, Told, decode
from turnout.job.core.answers import TOO_OLD
from turnout.messages import Status

#: How a sealed lease begins: its format, a hash of the job, the version, the task's number.
_LEASE_HEAD = struct.Struct(">B8sIQ")
_LEASE_HEAD_CHARS = 28
#: Words after which a device sends the same result again.
_NO_ANSWER = (Status.OK, Status.RETRY)


@dataclass(slots=True)
class Task:
    """One task of which at least one result was sent."""

    device: int
    version: int
    device_id: str
    task_id: str  #: The lease it was sent with last; a device that lost its place gets a new one for the same task.
    acknowledged: bool = False  #: Told ``counted: true`` at least once.
    refused: str = ""  #: Why it was told that it is not counted and never will be; empty: it was not told so.
    too_old: bool = False  #: Told at least once that nobody knows any more whether it was counted.

    @property
    def is_open(self) -> bool:
        return not (self.acknowledged or self.refused or self.too_old)


class Book:
    """All tasks that were sent, by number."""

    def __init__(self, path: Path) -> None:
        self.tasks: dict[int, Task] = {}
        self.sent = 0  #: Results that left, copies and repetitions among them.
        self.acknowledged = 0  #: Tasks told that they are counted.
        self.duplicates = 0  #: Answers that said so a second time.
        self._path = path
        self._read = 0

    def catch_up(self) -> None:
        """Read what is new."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                found = file.read()
        except FileNotFoundError:
            return
        lines = found[: found.rfind(b"\n") + 1]
        self._read += len(lines)
        for line in decode(lines):
            self.add(line)

    def add(self, line: Sent | Told) -> None:
        """Take in one line. Raises KeyError for an answer to a result that was never sent."""
        version, number = task_of(line.task_id)
        match line:
            case Sent():
                self.sent += 1
                task = self.tasks.setdefault(number, Task(line.index, version, line.device_id, line.task_id))
                task.task_id = line.task_id
            case Told(counted=True):
                task = self.tasks[number]
                self.acknowledged += not task.acknowledged
                self.duplicates += line.duplicate
                task.acknowledged = True
            case Told() if line.status not in _NO_ANSWER:
                task = self.tasks[number]
                if line.message == TOO_OLD.message:
                    task.too_old = True
                else:
                    task.refused = f"{line.status}: {line.message}"

    def open_tasks(self) -> list[Task]:
        """Those that nobody has answered for good."""
        return [task for task in self.tasks.values() if task.is_open]


def task_of(task_id: str) -> tuple[int, int]:
    """The version and the task number that a lease is for; nobody needs the job's key to read them."""
    _, _, version, number = _LEASE_HEAD.unpack(urlsafe_b64decode(task_id[:_LEASE_HEAD_CHARS]))
    return version, number
