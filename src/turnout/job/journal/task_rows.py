"""Leases and taken tasks as rows of the journal: a commit writes those that came or went since the last, and no others.

Ten thousand leases are some 700 kB; written whole with each commit they took most of its time, and so set its pace.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Generic, TypeVar

import msgspec

from turnout.job.places.changes import Changes
from turnout.job.places.leases import Lease

Row = tuple[int, bytes]  #: Task, lease.
TakenRow = tuple[bytes, int]  #: Device, task.
Key = TypeVar("Key")
Sums = tuple[int, int]  #: Checksums of the rows of leases and of taken tasks, whatever their order.

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Lease)


@dataclass(slots=True)
class Checksums(Generic[Key]):
    """Of rows by key, and their sum, kept with each change: a million would take 19 ms to sum, at each commit."""

    total: int = 0
    _by_key: dict[Key, int] = field(default_factory=dict)

    def __contains__(self, key: Key) -> bool:
        return key in self._by_key

    def put(self, checksums: dict[Key, int]) -> None:
        """Of rows that are new, or in place of those of the same keys."""
        self.total += sum(checksums.values()) - sum(map(self._by_key.get, checksums, repeat(0)))
        self._by_key.update(checksums)

    def drop(self, keys: Iterable[Key]) -> None:
        self.total -= sum(map(self._by_key.pop, keys, repeat(0)))

    def clear(self) -> None:
        self.total = 0
        self._by_key.clear()


@dataclass(slots=True)
class Rows:
    """What the file holds; brought up to date while it is written."""

    leases: Checksums[int] = field(default_factory=Checksums)
    taken: Checksums[bytes] = field(default_factory=Checksums)

    @property
    def sums(self) -> Sums:
        return self.leases.total, self.taken.total


def write(db: sqlite3.Connection, changes: Changes, rows: Rows) -> None:
    """Bring the file from ``rows`` to what it is with the changes."""
    db.executemany("DELETE FROM lease WHERE task = ?", [(task,) for task in changes.ended if task in rows.leases])
    rows.leases.drop(changes.ended)
    come = [(task, _encode(lease)) for task, lease in changes.leases.items()]
    db.executemany("INSERT OR REPLACE INTO lease VALUES (?, ?)", come)
    rows.leases.put({row[0]: _lease_crc(row) for row in come})
    if changes.all_new:
        db.execute("DELETE FROM taken")
        rows.taken.clear()
    db.executemany("INSERT OR REPLACE INTO taken VALUES (?, ?)", changes.taken.items())
    rows.taken.put({row[0]: _taken_crc(row) for row in changes.taken.items()})


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
    rows = Rows()
    rows.leases.put({row[0]: _lease_crc(row) for row in leases})
    rows.taken.put({row[0]: _taken_crc(row) for row in taken})
    return rows


def decoded(rows: Iterable[Row]) -> tuple[Lease, ...]:
    """In the order in which they were granted. Raises msgspec.MsgspecError."""
    return tuple(sorted((_decoder.decode(lease) for _, lease in rows), key=lambda lease: lease.granted_at))


def _lease_crc(row: Row) -> int:
    return zlib.crc32(row[1], row[0] & 0xFFFFFFFF)


def _taken_crc(row: TakenRow) -> int:
    return zlib.crc32(row[0], row[1] & 0xFFFFFFFF)
