"""Snapshots to be written and read back."""

import random
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.mean import TOTAL, SavedSum
from turnout.blobs.base import BlobRef
from turnout.job.account.tally import SavedTally
from turnout.job.journal.form import SECTIONS
from turnout.job.journal.journal import MODEL, SavedJob, SavedRandom, Snapshot
from turnout.job.places import counted
from turnout.job.places.counted import COUNTED, CountedVersion, SavedCounted
from turnout.job.places.leases import LEASES, Lease
from turnout.job.places.pacing import SavedPacing
from turnout.job.places.places import TAKEN, SavedPlaces
from turnout.job.places.rows import Rows
from turnout.job.workflow.published import SavedModels
from turnout.job.workflow.workflow import SavedWorkflow

VERSIONS = ((3, 0, 50.0, b"\x05"), (4, 65_536, 9.5, b"\x00\x80"))  # tasks 0, 2 and 65536 + 15
LEASE = Lease(4, 65_540, b"d" * 16, 10.0, 1.0, 61.0)


def whole(rows: Mapping[Any, Any]) -> Rows[Any, Any]:
    return Rows(rows, whole=True)


def leases(*given: Lease) -> Rows[int, Lease]:
    """The whole table."""
    return whole({lease.task: lease for lease in given})


def versions(*rows: CountedVersion) -> Rows[int, CountedVersion]:
    return whole({row[0]: row for row in rows})


def said_of(*rows: CountedVersion) -> SavedCounted:
    """What is right of these bitmaps."""
    return SavedCounted(*counted.keys(rows))


def defaults() -> dict[type[msgspec.Struct], msgspec.Struct]:
    """Every section, as a job that has just begun might save it."""
    needed = (SavedJob(12.5), SavedSum(3.0, 3), SavedPlaces(131_072), SavedRandom(random.Random(7).getstate()))
    given = {type(section): section for section in needed}
    return {kind: given.get(kind) or kind() for kind in SECTIONS.values()}


def snapshot(
    commit: int = 1,
    *sections: msgspec.Struct,
    version: int = 4,
    vectors: Mapping[str, NDArray[Any]] | None = None,
    tables: Mapping[Any, Rows[Any, Any]] | None = None,
) -> Snapshot:
    """Commit 1 of a job, but for what is given."""
    made = Snapshot(
        commit,
        version,
        {MODEL: np.array([1.0, 2.5], np.float32), TOTAL: np.array([0.1, 1e300]), "optimizer 0": np.array([0.5, -0.5])},
        defaults(),
        {COUNTED: versions(*VERSIONS), LEASES: leases(LEASE), TAKEN: whole({LEASE.device: LEASE.task})},
    )
    usual = (
        said_of(*VERSIONS),
        SavedPlaces(131_072, (1.0, 2.0)),
        SavedModels(((3, BlobRef("a" * 64, 88)),)),
        SavedWorkflow(asked=5),
        SavedPacing(13.0),
        SavedTally(counted=3, staleness={0: 3}),
    )
    return made.but(*usual, *sections, vectors=vectors, tables=tables)


def assert_same(one: Snapshot | None, other: Snapshot) -> None:
    """``other`` with whole tables is what was found."""
    assert one is not None
    assert (one.commit, one.version) == (other.commit, other.version)
    assert one.sections == other.sections
    assert one.tables == other.tables
    np.testing.assert_equal(dict(one.vectors), dict(other.vectors))
