"""What the parts of a snapshot are as bytes, and the checksums by which damage shows: a journal only stores them. Pure.

Every section, vector and table has a checksum in the ``Sums`` of its commit, and these have one of their own: so a part
that is not as written shows, and so do parts of different commits.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.mean import TOTAL, SavedSum
from turnout.aggregator.typical import Norms
from turnout.job.account.groups import SavedGroups
from turnout.job.account.tally import SavedTally
from turnout.job.account.warnings import SavedWarnings
from turnout.job.journal.journal import MODEL, JournalDamaged, JournalUnusable, SavedJob, SavedRandom, Snapshot
from turnout.job.places import counted
from turnout.job.places.counted import COUNTED, SavedCounted
from turnout.job.places.fleets import SavedFleets
from turnout.job.places.leases import LEASES
from turnout.job.places.pacing import SavedPacing
from turnout.job.places.places import TAKEN, SavedPlaces
from turnout.job.places.rows import Row, Rows, Table
from turnout.job.workflow.bases import SavedBases
from turnout.job.workflow.evaluation import SavedEvaluation
from turnout.job.workflow.federated import SavedFederated
from turnout.job.workflow.made import SavedMade
from turnout.job.workflow.pause import SavedPause
from turnout.job.workflow.published import SavedModels
from turnout.job.workflow.ranking import SavedRanking
from turnout.job.workflow.workflow import SavedWorkflow

#: All sections by name, and what their parts save. What an earlier release wrote must still be read: new fields, and
#: new sections, have defaults. A release that does not know one refuses the journal instead of forgetting it.
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "job": SavedJob,
    "sum": SavedSum,
    "counted": SavedCounted,
    "workflow": SavedWorkflow,
    "tally": SavedTally,
    "made": SavedMade,
    "groups": SavedGroups,
    "federated": SavedFederated,
    "typical": Norms,
    "places": SavedPlaces,
    "pacing": SavedPacing,
    "models": SavedModels,
    "bases": SavedBases,
    "pause": SavedPause,
    "ranking": SavedRanking,
    "evaluation": SavedEvaluation,
    "warnings": SavedWarnings,
    "fleets": SavedFleets,
    "random": SavedRandom,
}
TABLES: tuple[Table[Any, Any], ...] = (COUNTED, LEASES, TAKEN)
VECTORS = {MODEL: "<f4", TOTAL: "<f8", "optimizer": "<f8"}  #: What their numbers are, by the first word of the name.
OTHER_RELEASE = (
    "{} was written by another release of turnout, and this one cannot read it: {}; go back to that release, or update"
)

_encode, _encode_json = msgspec.msgpack.Encoder().encode, msgspec.json.Encoder().encode
_decoders = {name: msgspec.msgpack.Decoder(kind) for name, kind in SECTIONS.items()}


class Sums(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A CRC-32 of each part, by name; of a table the sum of those of its rows."""

    sections: dict[str, int]
    vectors: dict[str, int]
    tables: dict[str, int]


class Head(NamedTuple):
    """What stands for a whole commit."""

    commit: int
    version: int
    sums: bytes  #: ``Sums`` as JSON.
    crc: int  #: Of all three.


@dataclass(frozen=True, slots=True)
class Stored:
    """All that a journal has read of one commit."""

    head: Head
    sections: Mapping[str, bytes]
    vectors: Mapping[str, bytes]
    tables: Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class TableWrites:
    """In this order."""

    clear: bool
    went: Sequence[Any]  #: Keys.
    came: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Writes:
    """What a journal must write, in one transaction, to hold a commit instead of the one before."""

    head: Head
    sections: Sequence[tuple[str, bytes]]
    vectors: Sequence[tuple[str, memoryview]]
    lost_vectors: Sequence[str]
    tables: Mapping[Table[Any, Any], TableWrites]


class _Checksums:
    """Of rows by key, and their sum, kept with each change: a million would take 19 ms to sum, at each commit."""

    def __init__(self) -> None:
        self.total = 0
        self._by_key: dict[Any, int] = {}

    def apply(self, table: Table[Any, Any], rows: Rows[Any, Any]) -> TableWrites:
        """Take over what a commit says of the table; returns what is to be written for it."""
        went = [key for key in rows.went if key in self._by_key]
        if rows.whole:
            went, self.total, self._by_key = [], 0, {}
        self.total -= sum(map(self._by_key.pop, went))
        came = table.rows(rows.came)
        self.put(came)
        return TableWrites(rows.whole, went, came)

    def put(self, rows: Iterable[Row]) -> None:
        crcs = {row[0]: zlib.crc32(_encode(row)) for row in rows}
        self.total += sum(crcs.values()) - sum(map(self._by_key.get, crcs, repeat(0)))
        self._by_key.update(crcs)


@dataclass(slots=True)
class Image:
    """What a journal holds, as far as it must be known to write only what differs.

    A commit that failed leaves it wrong: then begin with what the journal is found to hold.
    """

    commit: int = 0
    sums: Sums = field(default_factory=lambda: Sums({}, {}, {}))
    _sections: dict[str, tuple[msgspec.Struct, bytes]] = field(default_factory=dict)
    _vectors: dict[str, NDArray[Any]] = field(default_factory=dict)
    _tables: dict[str, _Checksums] = field(default_factory=lambda: {table.name: _Checksums() for table in TABLES})

    def writes(self, snapshot: Snapshot) -> Writes:
        """What brings the journal to ``snapshot``; from now on this is the image of that."""
        follows = self.commit and snapshot.commit == self.commit + 1
        known = follows or all(rows.whole for rows in snapshot.tables.values())
        assert known, "these changes are not of what the journal holds"
        sections = self._section_writes(snapshot)
        lost = [name for name in self._vectors if name not in snapshot.vectors]
        vectors = self._vector_writes(snapshot)
        tables = {table: self._tables[table.name].apply(table, snapshot.tables[table]) for table in TABLES}
        for name in lost:
            del self._vectors[name], self.sums.vectors[name]
        self.commit = snapshot.commit
        return Writes(self._head(snapshot.version), sections, vectors, lost, tables)

    def _section_writes(self, snapshot: Snapshot) -> list[tuple[str, bytes]]:
        writes = []
        for name, kind in SECTIONS.items():
            section, before = snapshot.sections[kind], self._sections.get(name)
            if before is None or before[0] is not section:
                data = _encode(section)
                if before is None or before[1] != data:
                    self._sections[name], self.sums.sections[name] = (section, data), zlib.crc32(data)
                    writes.append((name, data))
        return writes

    def _vector_writes(self, snapshot: Snapshot) -> list[tuple[str, memoryview]]:
        writes = []
        for name, vector in snapshot.vectors.items():
            if self._vectors.get(name) is not vector:
                assert vector.dtype.newbyteorder("<") == np.dtype(VECTORS[name.split()[0]]), (
                    "no later process could read it"
                )
                data = np.ascontiguousarray(vector, vector.dtype.newbyteorder("<")).data.cast("B")
                self._vectors[name], self.sums.vectors[name] = vector, zlib.crc32(data)
                writes.append((name, data))
        return writes

    def _head(self, version: int) -> Head:
        for name, checksums in self._tables.items():
            self.sums.tables[name] = checksums.total
        encoded = _encode_json(self.sums)
        return Head(self.commit, version, encoded, head_crc(self.commit, version, encoded))

    @classmethod
    def over(cls, stored: Stored) -> "Image":
        """Of what an earlier release wrote: all is written anew, and vectors that are not needed any more go."""
        image = cls()
        for name in stored.vectors:
            image._vectors[name], image.sums.vectors[name] = np.empty(0), 0
        return image

    @classmethod
    def of(cls, stored: Stored, snapshot: Snapshot) -> "Image":
        """Of what was read, which is right."""
        image = cls(snapshot.commit)
        for name, data in stored.sections.items():
            image._sections[name], image.sums.sections[name] = (snapshot.of(SECTIONS[name]), data), zlib.crc32(data)
        for name, vector in snapshot.vectors.items():
            image._vectors[name], image.sums.vectors[name] = vector, zlib.crc32(stored.vectors[name])
        for name, rows in stored.tables.items():
            image._tables[name].put(rows)
            image.sums.tables[name] = image._tables[name].total
        return image


def head_crc(commit: int, version: int, sums: bytes) -> int:
    return zlib.crc32(sums, zlib.crc32(f"{commit} {version}".encode()))


def restored(where: str, stored: Stored) -> tuple[Snapshot, Image]:
    """The snapshot that was written, as it was. Raises JournalDamaged, or JournalUnusable for another release's."""
    sums = _sums(where, stored.head)
    _check_release(where, sums, stored.sections)
    _check_parts(where, stored, sums)
    snapshot = _snapshot(where, stored)
    check_counted(where, stored.head, snapshot)
    return snapshot, Image.of(stored, snapshot)


def check_release(where: str, head: Head, sections: Mapping[str, bytes]) -> None:
    """Raise JournalUnusable for a commit that only another release can read; damage is left for later."""
    if head_crc(head.commit, head.version, head.sums) == head.crc:
        _check_release(where, _sums(where, head), sections)


def check(where: str, head: Head, part: str, right: bool) -> None:
    if not right:
        raise JournalDamaged(
            f"{where} is damaged: the {part} of its last commit, at version {head.version}, is not as written"
        )


def check_counted(where: str, head: Head, snapshot: Snapshot) -> None:
    """A sum and bitmaps that are not of one commit: then its writer was wrong, for all other checksums are right."""
    said, versions = snapshot.of(SavedCounted), snapshot.rows(COUNTED).values()
    right = counted.keys(versions) == (said.tasks, said.checksum)
    check(where, head, "number or checksum of counted tasks", right)


def vector(name: str, data: bytes) -> NDArray[Any]:
    return np.frombuffer(data, VECTORS[name.split()[0]])


def _sums(where: str, head: Head) -> Sums:
    check(where, head, "list of checksums", head_crc(head.commit, head.version, head.sums) == head.crc)
    try:
        return msgspec.json.decode(head.sums, type=Sums)
    except msgspec.MsgspecError as error:
        raise JournalUnusable(OTHER_RELEASE.format(where, error)) from error


def _check_release(where: str, sums: Sums, sections: Mapping[str, bytes]) -> None:
    """What is written right and cannot be read was written by another release."""
    unknown = {*sums.sections} - {*SECTIONS} | {*sums.tables} - {table.name for table in TABLES}
    unknown |= {name for name in sums.vectors if name.split()[0] not in VECTORS}
    if unknown:
        raise JournalUnusable(OTHER_RELEASE.format(where, f"it holds {', '.join(sorted(unknown))}"))
    for name, data in sections.items():
        if name in SECTIONS and zlib.crc32(data) == sums.sections.get(name):
            try:
                _decoders[name].decode(data)
            except msgspec.MsgspecError as error:
                raise JournalUnusable(OTHER_RELEASE.format(where, error)) from error


def _check_parts(where: str, stored: Stored, sums: Sums) -> None:
    check(where, stored.head, "list of sections", stored.sections.keys() == sums.sections.keys())
    check(where, stored.head, "list of vectors", stored.vectors.keys() == sums.vectors.keys())
    for name, data in stored.sections.items():
        check(where, stored.head, f"section {name}", zlib.crc32(data) == sums.sections[name])
    for name, data in stored.vectors.items():
        check(where, stored.head, name, zlib.crc32(data) == sums.vectors[name])
    for name, rows in stored.tables.items():  # before they are decoded: damage would pass for another release's form
        check(where, stored.head, f"table {name}", sum(zlib.crc32(_encode(row)) for row in rows) == sums.tables[name])


def _snapshot(where: str, stored: Stored) -> Snapshot:
    try:
        sections = {SECTIONS[name]: _decoders[name].decode(data) for name, data in stored.sections.items()}
        missing = {kind: kind() for kind in SECTIONS.values() if kind not in sections}
        tables: dict[Table[Any, Any], Rows[Any, Any]] = {}
        for table in TABLES:
            values: dict[Any, Any] = {row[0]: table.value(row) for row in stored.tables[table.name]}
            tables[table] = Rows(values, whole=True)
    except (msgspec.MsgspecError, TypeError) as error:
        raise JournalUnusable(OTHER_RELEASE.format(where, error)) from error
    vectors = {name: vector(name, data) for name, data in stored.vectors.items()}
    return Snapshot(stored.head.commit, stored.head.version, vectors, sections | missing, tables)
