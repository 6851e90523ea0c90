"""A journal whose disk cuts writes short, or gives back other bytes than it was given."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.unit.job.journal.numbered import assert_is, numbered
from turnout.job.folder.directory import JOURNAL
from turnout.job.journal.damage import check_witness
from turnout.job.journal.journal import DiskError, JournalDamaged, JournalUnusable, Snapshot
from turnout.job.journal.recorder import Moment, Phase
from turnout.job.journal.sqlite import SqliteJournal, read_snapshot

COMMITS = 6
FLIPS = 60
TIMEOUT_S = 60
HEAD_BYTES = 32  #: Of SQLite's log.


def test_a_write_that_is_cut_short_anywhere_leaves_the_old_commit_or_the_new_one(tmp_path: Path) -> None:
    """And the next commit works. The process that does it checks this after each."""
    command = [sys.executable, "-m", "tests.unit.job.journal.short_writes", str(tmp_path), "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    print(seen)  # shown when the test fails
    assert seen["failed"] > 20
    assert seen["did not happen"] > 10
    assert seen["fits"] > 5


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The files of a process that was killed after its last commit: the log was not folded into the journal."""
    folder, copy = tmp_path / "running", tmp_path / "killed"
    folder.mkdir()
    copy.mkdir()
    journal = SqliteJournal(folder, "job-1", lock_patience_s=0)
    for commit in range(1, COMMITS + 1):
        journal.commit(numbered(commit))
    for name in (JOURNAL, f"{JOURNAL}-wal"):
        shutil.copy(folder / name, copy / name)
    journal.close()
    return copy


def reopened(folder: Path) -> Snapshot | None:
    """What the next process finds; its journal is whole then, and its own."""
    journal = SqliteJournal(folder, "job-1", lock_patience_s=0)
    try:
        return journal.load()
    finally:
        journal.close()


def changed(killed: Path, to: Path, name: str, at: int, bit: int) -> Path:
    """A copy of the folder in which one bit of a file is another."""
    shutil.copytree(killed, to)
    with (to / name).open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
    return to


def frame_bytes(log: bytes) -> int:
    """Of one page in SQLite's log, with what is said of it."""
    return 24 + int.from_bytes(log[8:12], "big")


def found_in(folder: Path) -> int | None:
    """The number of the commit that is read back, which is whole; None: that there is damage."""
    try:
        found = reopened(folder)
    except (JournalDamaged, JournalUnusable, DiskError):
        return None
    if found is None:
        return 0
    assert_is(found, found.commit)
    return found.commit


def test_the_files_of_a_killed_process_are_whole(killed: Path) -> None:
    assert found_in(killed) == COMMITS


def test_a_bit_of_the_log_that_changed_takes_whole_commits_away_and_the_recorder_tells(
    killed: Path, tmp_path: Path
) -> None:
    """SQLite ends a log where it is damaged, without a word: what comes back is an earlier commit, never a mixture."""
    rng = Random(3)
    size = (killed / f"{JOURNAL}-wal").stat().st_size
    durable = Moment(Phase.OPEN, closing=False, staged=0, commit=COMMITS, version=COMMITS // 4)
    seen = set()
    for number in range(FLIPS):
        folder = changed(killed, tmp_path / f"{number}", f"{JOURNAL}-wal", rng.randrange(size), rng.randrange(8))
        found = found_in(folder)
        seen.add(found)
        if found is not None:
            snapshot = read_snapshot(folder / JOURNAL)
            if found < COMMITS:
                with pytest.raises(JournalDamaged, match=f"ends at commit {found}, but commit {COMMITS} was durable"):
                    check_witness(folder, durable, snapshot)
            else:
                check_witness(folder, durable, snapshot)
        shutil.rmtree(folder)
    assert seen & set(range(COMMITS)), "some went back"
    assert len(seen) >= COMMITS - 1, "to many of the commits"


def test_a_log_that_was_cut_off_anywhere_takes_whole_commits_away(killed: Path, tmp_path: Path) -> None:
    """As when the disk lost the end of what it had promised."""
    rng = Random(4)
    log = (killed / f"{JOURNAL}-wal").read_bytes()
    seen = set()
    for length in range(HEAD_BYTES, len(log), frame_bytes(log)):  # after each page, or a little later
        folder = tmp_path / f"{length}"
        shutil.copytree(killed, folder)
        (folder / f"{JOURNAL}-wal").write_bytes(log[: length + rng.choice((0, rng.randrange(frame_bytes(log))))])
        seen.add(found_in(folder))
        shutil.rmtree(folder)
    assert None not in seen, "a shorter log is no damage that could be seen: this is what the recorder is for"
    assert len(seen) >= COMMITS - 1


def test_pages_of_the_log_that_lie_in_another_order_are_no_mixture(killed: Path, tmp_path: Path) -> None:
    """As when a disk wrote the right bytes to the wrong place."""
    rng = Random(5)
    log = (killed / f"{JOURNAL}-wal").read_bytes()
    frames = [log[at : at + frame_bytes(log)] for at in range(HEAD_BYTES, len(log), frame_bytes(log))]
    for number in range(FLIPS // 3):
        one, other = rng.sample(range(len(frames)), 2)
        moved = frames.copy()
        moved[one], moved[other] = moved[other], moved[one]
        folder = tmp_path / f"{number}"
        shutil.copytree(killed, folder)
        (folder / f"{JOURNAL}-wal").write_bytes(log[:HEAD_BYTES] + b"".join(moved))
        found = found_in(folder)
        assert found is None or found < COMMITS
        shutil.rmtree(folder)
