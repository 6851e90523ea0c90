"""Snapshots of which every part says which commit it is of: a mixture of two is no snapshot of any."""

import numpy as np

from tests.unit.job.journal.test_sqlite import assert_same, snapshot
from turnout.job.journal.journal import Snapshot
from turnout.job.places import counted

SIZE = 3_000  #: Numbers of the model: a commit is a dozen pages.


def numbered(commit: int) -> Snapshot:
    """The snapshot of this commit. Some parts change with each, some seldom, some stay."""
    versions = range(max(commit // 4 - 20, 0), commit // 4 + 1)
    rows = tuple((version, 64 * version, float(commit // 8), bytes([version % 256, 1])) for version in versions)
    tasks, checksum = counted.keys(rows)
    return snapshot(
        commit,
        version=commit // 4,
        model=np.full(SIZE, commit // 4, np.float32),
        total=np.full(SIZE, commit, np.float64),
        optimizer=(np.full(SIZE, commit // 4 / 2, np.float64),),
        counted=rows,
        tasks=tasks,
        checksum=checksum,
        reserved_until=commit,
        tally={"counted": commit},
    )


def assert_is(found: Snapshot | None, commit: int) -> None:
    """``found`` is the snapshot of this commit, whole."""
    assert_same(found, numbered(commit))
