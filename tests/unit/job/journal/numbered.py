"""Snapshots of which every part says which commit it is of: a mixture of two is no snapshot of any."""

import numpy as np

from tests.unit.job.journal.snapshots import assert_same, said_of, snapshot, versions
from turnout.aggregator.mean import TOTAL
from turnout.job.account.tally import SavedTally
from turnout.job.journal.journal import MODEL, Snapshot
from turnout.job.places.counted import COUNTED
from turnout.job.places.places import SavedPlaces

SIZE = 3_000  #: Numbers of the model: a commit is a dozen pages.


def numbered(commit: int) -> Snapshot:
    """The snapshot of this commit. Some parts change with each, some seldom, some stay."""
    known = range(max(commit // 4 - 20, 0), commit // 4 + 1)
    rows = tuple((version, 64 * version, float(commit // 8), bytes([version % 256, 1])) for version in known)
    vectors = {
        MODEL: np.full(SIZE, commit // 4, np.float32),
        TOTAL: np.full(SIZE, commit, np.float64),
        "optimizer 0": np.full(SIZE, commit // 4 / 2, np.float64),
    }
    sections = said_of(*rows), SavedPlaces(commit), SavedTally(commit)
    return snapshot(commit, *sections, version=commit // 4, vectors=vectors, tables={COUNTED: versions(*rows)})


def assert_is(found: Snapshot | None, commit: int) -> None:
    """``found`` is the snapshot of this commit, whole."""
    assert_same(found, numbered(commit))
