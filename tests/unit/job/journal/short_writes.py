"""``python -m tests.unit.job.journal.short_writes FOLDER SEED``: commits to a journal whose writes are cut short.

The system lets this process write files up to a length only, another one for each commit: SQLite's writes end in the
middle (EFBIG), in the log, in the file or in its index. A process of its own, because the limit holds for all files.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from random import Random

from tests.unit.job.journal.numbered import assert_is, numbered
from turnout.job.folder.directory import JOURNAL
from turnout.job.journal.journal import JournalDamaged
from turnout.job.journal.sqlite import SqliteJournal, read_snapshot
from turnout.sim.kept import files_up_to

COMMITS = 60
CLEAN_EVERY = 7  #: So many commits between two that have their log folded into the file before.


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def main(folder: Path, seed: int) -> Counter[str]:
    """What became of the commits. Raises AssertionError or JournalDamaged when one is not as it should be."""
    rng = Random(seed)
    journal = SqliteJournal(folder, "job-1", lock_patience_s=0)
    log = folder / f"{JOURNAL}-wal"
    seen = Counter[str]()
    last = 1
    journal.commit(numbered(last))
    for turn in range(COMMITS):
        if turn % CLEAN_EVERY == 0:
            journal.close()
            journal = SqliteJournal(folder, "job-1", lock_patience_s=0)
        begin = rng.choice((0, size(log)))  # a log that begins anew is written from its start
        limit = begin + rng.choice((rng.randrange(9_000), rng.randrange(60_000), rng.randrange(10**6)))
        try:
            with files_up_to(limit):
                journal.commit(numbered(last + 1))
        except OSError:
            seen["failed"] += 1
            found = journal.load()
            assert found is not None
            seen["happened all the same" if found.commit == last + 1 else "did not happen"] += 1
            assert found.commit in (last, last + 1)
            assert_is(found, found.commit)
            last = found.commit
            journal.commit(numbered(last + 1))
        else:
            seen["fits"] += 1
        last += 1
        assert_is(read_snapshot(folder / JOURNAL), last)
    journal.close()
    assert_is(read_snapshot(folder / JOURNAL), last)
    return seen


if __name__ == "__main__":
    try:
        print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
    except JournalDamaged as error:
        sys.exit(f"damaged: {error}")
