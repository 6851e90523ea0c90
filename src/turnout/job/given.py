"""Leases and taken tasks as rows of the journal: a commit writes those that came or went since the last, and no others.

Ten thousand leases are some 700 kB; written whole with each commit they took most of its time, and so set its pace.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from turnout.job.leases import Lease

Row = tuple[int, bytes]  #: Task, lease.
TakenRow = tuple[bytes, int]  #: Device, task.
Sums = tuple[int, int]  #: Checksums of the rows of leases and of taken tasks, whatever their order.

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Lease)


@dataclass(slots=True)
class Changes:
    """What came and what went since a commit. What is in neither is as it was."""

    leases: dict[int, Lease] = field(default_factory=dict)  #: Those that came, by task.
    ended: set[int] = field(default_factory=set)  #: The tasks of those that went.
    taken: dict[bytes, int] = field(default_factory=dict)
    all_new: bool = False  #: Nobody had taken a task before ``taken``.


@dataclass(slots=True)
class Rows:
    """What the file holds, in checksums by key; brought up to date while it is written."""

    leases: dict[int, int] = field(default_factory=dict)
    taken: dict[bytes, int] = field(default_factory=dict)

    @property
    def sums(self) -> Sums:
        """Summing ten thousand takes 60 µs, less than to keep two sums right in every case."""
        return sum(self.leases.values()), sum(self.taken.values())


def write(db: sqlite3.Connection, changes: Changes, rows: Rows) -> None:
    """Bring the file from ``rows`` to what it is with the changes."""
    db.executemany("DELETE FROM lease WHERE task = ?", [(task,) for task in changes.ended if task in rows.leases])
    for task in changes.ended:
        rows.leases.pop(task, None)
    come = [(task, _encode(lease)) for task, lease in changes.leases.items()]
    db.executemany("INSERT OR REPLACE INTO lease VALUES (?, ?)", come)
    rows.leases.update((row[0], _lease_crc(row)) for row in come)
    if changes.all_new:
        db.execute("DELETE FROM taken")
        rows.taken.clear()
    db.executemany("INSERT OR REPLACE INTO taken VALUES (?, ?)", changes.taken.items())
    rows.taken.update((row[0], _taken_crc(row)) for row in changes.taken.items())


def rewrite(db: sqlite3.Connection, leases: Iterable[Lease], taken: Mapping[bytes, int]) -> Rows:
    """All of it, where nobody knows what came and what went."""
    db.execute("DELETE FROM lease")
    rows = Rows()
    write(db, Changes({lease.task: lease for lease in leases}, set(), dict(taken), all_new=True), rows)
    return rows


def read(db: sqlite3.Connection) -> tuple[list[Row], list[TakenRow]]:
    return list(db.execute("SELECT task, lease FROM lease")), list(db.execute("SELECT device, task FROM taken"))


def rows_of(leases: Iterable[Row], taken: Iterable[TakenRow]) -> Rows:
    """What was read."""
    return Rows({row[0]: _lease_crc(row) for row in leases}, {row[0]: _taken_crc(row) for row in taken})


def decoded(rows: Iterable[Row]) -> tuple[Lease, ...]:
    """In the order in which they were granted. Raises msgspec.MsgspecError."""
    return tuple(sorted((_decoder.decode(lease) for _, lease in rows), key=lambda lease: lease.granted_at))


def _lease_crc(row: Row) -> int:
    return zlib.crc32(row[1], row[0] & 0xFFFFFFFF)


def _taken_crc(row: TakenRow) -> int:
    return zlib.crc32(row[0], row[1] & 0xFFFFFFFF)
