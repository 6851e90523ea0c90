"""What earlier releases wrote, in schemas 1 and 2: one value for all that is small, until the next commit. Pure."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from turnout.aggregator.mean import SavedSum
from turnout.aggregator.typical import Norms
from turnout.blobs.base import BlobRef
from turnout.job.account.groups import Counts, Key, SavedGroups
from turnout.job.account.tally import SavedTally
from turnout.job.account.warnings import SavedWarnings
from turnout.job.journal import form
from turnout.job.journal.form import OTHER_RELEASE, Head, Stored, check
from turnout.job.journal.journal import JournalUnusable, SavedJob, SavedRandom, Snapshot
from turnout.job.places.counted import COUNTED, SavedCounted
from turnout.job.places.fleets import SavedFleets
from turnout.job.places.leases import LEASES, Lease
from turnout.job.places.pacing import SavedPacing
from turnout.job.places.places import TAKEN, SavedPlaces
from turnout.job.places.rows import Row, Rows
from turnout.job.workflow.bases import SavedBases
from turnout.job.workflow.evaluation import SavedEvaluation
from turnout.job.workflow.federated import SavedFederated, Sums
from turnout.job.workflow.made import SavedMade
from turnout.job.workflow.pause import SavedPause
from turnout.job.workflow.published import SavedModels
from turnout.job.workflow.ranking import SavedRanking
from turnout.job.workflow.workflow import SavedWorkflow
from turnout.messages import FailingEvaluation, Warned

FORM_MAX = 2  #: The newest form of this kind.


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In the place of the list of checksums, as msgpack. What follows ``counted`` came later, one by one."""

    total_weight: float
    buffered: int
    tasks: int
    checksum: int
    reserved_until: int
    blobs: tuple[tuple[int, str, int], ...]
    workflow: SavedWorkflow
    rng: tuple[int, tuple[int, ...], float | None]
    job_time: float
    next_appointment: float
    durations: tuple[float, ...]
    tally: SavedTally
    vectors: dict[str, int]  #: The CRC of each.
    counted: dict[int, int]  #: The CRC of the row of each version.
    pause: tuple[float | None, float] = (None, 0.0)
    groups: tuple[tuple[Key, Counts], ...] = ()
    best: tuple[int, float] | None = None
    measured: dict[int, dict[str, float]] = {}
    ending: str = ""
    federated: Sums = {}
    fleets: tuple[tuple[str, int], ...] = ()
    bases: dict[int, float] = {}
    warned: tuple[Warned, ...] = ()
    evaluation_fails: FailingEvaluation | None = None
    typical: Norms | None = None
    given_sums: tuple[int, int] | None = None  #: Of the rows of leases and taken tasks; None: they are here.
    leases: tuple[Lease, ...] = ()
    taken: dict[bytes, int] = {}
    made: tuple[int, int, int, dict[int, int]] | None = None  #: None: all that left the sum is in versions.
    void_below: int = 0
    pause_reason: str = ""


def restored(where: str, stored: Stored) -> Snapshot:
    """As ``form.restored``; the next commit writes all of it in the form of today."""
    head = stored.head
    state = _state(where, head)
    check(where, head, "list of vectors", stored.vectors.keys() == state.vectors.keys())
    for name, data in stored.vectors.items():
        check(where, head, name, zlib.crc32(data) == state.vectors[name])
    check(where, head, "record of counted tasks", _crcs(stored.tables[COUNTED.name]) == state.counted)
    if state.given_sums is not None:
        sums = (_sum(stored.tables[LEASES.name], 1, 0), _sum(stored.tables[TAKEN.name], 0, 1))
        check(where, head, "list of leases", sums == state.given_sums)
    snapshot = Snapshot(
        head.commit,
        head.version,
        {name: form.vector(name, data) for name, data in stored.vectors.items()},
        {type(section): section for section in sections(state)},
        {table: Rows(rows, whole=True) for table, rows in _tables(where, state, stored.tables).items()},
    )
    form.check_counted(where, head, snapshot)
    return snapshot


def check_release(where: str, head: Head) -> None:
    """As ``form.check_release``."""
    if form.head_crc(head.commit, head.version, head.sums) == head.crc:
        _state(where, head)


def _state(where: str, head: Head) -> State:
    check(where, head, "state", form.head_crc(head.commit, head.version, head.sums) == head.crc)
    try:
        return msgspec.msgpack.decode(head.sums, type=State)
    except msgspec.MsgspecError as error:
        raise JournalUnusable(OTHER_RELEASE.format(where, error)) from error


def sections(state: State) -> Sequence[msgspec.Struct]:
    made = SavedMade(*state.made) if state.made else SavedMade(state.tally.counted - state.buffered)
    return (
        SavedJob(state.job_time, state.ending, state.void_below),
        SavedSum(state.total_weight, state.buffered),
        SavedCounted(state.tasks, state.checksum),
        state.workflow,
        state.tally,
        made,
        SavedGroups(state.groups),
        SavedFederated(state.federated),
        state.typical or Norms(),
        SavedPlaces(state.reserved_until, state.durations),
        SavedPacing(state.next_appointment),
        SavedModels(tuple((version, BlobRef(sha256, num_bytes)) for version, sha256, num_bytes in state.blobs)),
        SavedBases(state.bases),
        SavedPause(*state.pause, state.pause_reason),
        SavedRanking(state.best, state.measured),
        SavedEvaluation(state.evaluation_fails),
        SavedWarnings(state.warned),
        SavedFleets(state.fleets),
        SavedRandom(state.rng),
    )


def _tables(where: str, state: State, stored: Mapping[str, Sequence[Row]]) -> Mapping[Any, Mapping[Any, Any]]:
    versions = {row[0]: COUNTED.value(row) for row in stored[COUNTED.name]}
    if state.given_sums is None:
        return {COUNTED: versions, LEASES: {lease.task: lease for lease in state.leases}, TAKEN: state.taken}
    try:
        leases = {row[0]: LEASES.value(row) for row in stored[LEASES.name]}
    except msgspec.MsgspecError as error:
        raise JournalUnusable(OTHER_RELEASE.format(where, error)) from error
    return {COUNTED: versions, LEASES: leases, TAKEN: {row[0]: TAKEN.value(row) for row in stored[TAKEN.name]}}


def _crcs(rows: Sequence[Sequence[Any]]) -> dict[int, int]:
    """Of the counted tasks of each version."""
    return {row[0]: zlib.crc32(row[3], zlib.crc32(f"{row[0]} {row[1]} {row[2]!r}".encode())) for row in rows}


def _sum(rows: Sequence[Sequence[Any]], data: int, number: int) -> int:
    """Of the CRCs of rows of some bytes and a number."""
    return sum(zlib.crc32(row[data], row[number] & 0xFFFFFFFF) for row in rows)
