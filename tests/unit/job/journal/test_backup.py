"""Backups of a job's journal, and going on from one."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.unit.job.journal.snapshots import assert_same, leases, snapshot
from tests.unit.job.journal.test_sqlite import opened
from turnout.aggregator.mean import TOTAL
from turnout.blobs.folder import BlobStore
from turnout.job.folder.directory import BLOBS, FINAL, JOURNAL, RECORDER
from turnout.job.journal.backup import Contents, NothingToBackUp, backup, contents, restore
from turnout.job.journal.journal import MODEL, JournalDamaged, JournalUnusable
from turnout.job.journal.sqlite import read_snapshot
from turnout.job.places.leases import LEASES
from turnout.job.workflow.published import SavedModels
from turnout.messages import ModelSchema, TensorSpec
from turnout.storage.lock import JobLocked
from turnout.wire.tensors import to_safetensors


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "job-1"
    made.mkdir()
    return made


def test_a_backup_of_a_running_job_is_the_state_of_its_last_commit(directory: Path, tmp_path: Path) -> None:
    journal = opened(directory)
    journal.commit(snapshot())
    assert backup(directory, tmp_path / "copy") == Contents("job-1", commit=1, version=4, buffered=3)
    journal.commit(snapshot(2, version=5))
    assert_same(contents(tmp_path / "copy")[1], snapshot())
    assert {file.name for file in tmp_path.iterdir()} == {"job-1", "copy"}, "whole in one file"
    journal.close()


def test_a_job_that_never_committed_has_nothing_to_back_up(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingToBackUp, match="there is no journal"):
        backup(directory, tmp_path / "copy")
    opened(directory).close()
    with pytest.raises(NothingToBackUp, match="holds no commit"):
        backup(directory, tmp_path / "copy")


def test_a_restored_job_goes_on_from_the_backup_under_another_key(directory: Path, tmp_path: Path) -> None:
    first = opened(directory)
    first.commit(snapshot())
    backup(directory, tmp_path / "copy")
    first.commit(snapshot(2, version=5))
    first.close()
    for name in (RECORDER, FINAL):
        (directory / name).write_bytes(b"of the journal that is replaced")

    assert restore(tmp_path / "copy", directory).version == 4
    again = opened(directory)
    assert again.key != first.key, "no lease given out after the backup is one of the restored job's"
    assert again.incarnation > first.incarnation
    assert_same(again.load(), snapshot().but(SavedModels(), tables={LEASES: leases()}))
    assert not (directory / RECORDER).exists()
    assert not (directory / FINAL).exists()
    again.close()


def crashed(directory: Path, kept: Path, job_id: str = "job-1") -> None:
    """Make of ``directory`` what a process leaves that was killed: its last commit is in the log only."""
    running = opened(directory, job_id)
    running.commit(snapshot())
    shutil.copytree(directory, kept)
    running.close()
    shutil.rmtree(directory)
    kept.rename(directory)
    assert (directory / f"{JOURNAL}-wal").stat().st_size


def test_each_replaced_journal_is_kept_and_can_be_opened_by_its_name(directory: Path, tmp_path: Path) -> None:
    first = opened(directory)
    first.commit(snapshot(version=2))
    backup(directory, tmp_path / "copy")
    first.close()
    shutil.rmtree(directory)
    directory.mkdir()
    crashed(directory, tmp_path / "kept")
    restore(tmp_path / "copy", directory)
    assert_same(read_snapshot(directory / "journal.replaced-1.sqlite"), snapshot())

    again = opened(directory)
    again.commit(snapshot(2, version=7))
    again.close()
    restore(tmp_path / "copy", directory)
    assert_same(read_snapshot(directory / "journal.replaced-1.sqlite"), snapshot())
    assert_same(read_snapshot(directory / "journal.replaced-2.sqlite"), snapshot(2, version=7))


def test_the_old_log_is_durably_away_before_the_new_journal_comes(directory: Path, tmp_path: Path) -> None:
    crashed(directory, tmp_path / "kept")
    backup(directory, tmp_path / "copy")
    restored = (directory / JOURNAL).stat().st_ino
    seen: list[tuple[bool, bool, bool]] = []

    def sync_folder(folder: Path) -> None:
        there = {file.name: file for file in folder.iterdir()}
        new = JOURNAL in there and there[JOURNAL].stat().st_ino != restored
        seen.append((f"{JOURNAL}-wal" in there, new, FINAL in there))

    (directory / FINAL).write_bytes(b"of the journal that is replaced")
    restore(tmp_path / "copy", directory, sync_folder)
    steps = seen[seen.index((False, False, True)) :]
    assert steps == [(False, False, True), (False, True, True), (False, True, False)]


def test_a_damaged_journal_can_be_restored(directory: Path, tmp_path: Path) -> None:
    journal = opened(directory)
    journal.commit(snapshot())
    journal.close()
    backup(directory, tmp_path / "copy")
    (directory / JOURNAL).write_bytes(b"rubbish" * 1000)
    restore(tmp_path / "copy", directory)
    again = opened(directory)
    assert again.load() is not None
    again.close()


def test_a_job_that_runs_is_not_restored(directory: Path, tmp_path: Path) -> None:
    running = opened(directory)
    running.commit(snapshot())
    backup(directory, tmp_path / "copy")
    with pytest.raises(JobLocked):
        restore(tmp_path / "copy", directory)
    running.commit(snapshot(2))
    running.close()


def another(tmp_path: Path, size: int) -> Path:
    """The directory of a job that has ended, whose model has ``size`` numbers."""
    made = tmp_path / "job-2"
    made.mkdir()
    journal = opened(made, "job-2")
    journal.commit(snapshot(version=0, vectors={MODEL: np.zeros(size, np.float32), TOTAL: np.zeros(size)}))
    journal.close()
    return made


def test_the_backup_of_another_job_is_taken_if_the_model_has_the_same_size(directory: Path, tmp_path: Path) -> None:
    first = opened(directory)
    first.commit(snapshot())
    first.close()
    backup(directory, tmp_path / "copy")
    other = another(tmp_path, 2)
    assert restore(tmp_path / "copy", other).version == 4
    again = opened(other, "job-2")
    assert again.key != first.key
    assert_same(again.load(), snapshot().but(SavedModels(), tables={LEASES: leases()}))
    again.close()


def test_the_size_is_told_by_the_models_when_the_journal_is_damaged(directory: Path, tmp_path: Path) -> None:
    journal = opened(directory)
    journal.commit(snapshot())
    journal.close()
    backup(directory, tmp_path / "copy")
    other = another(tmp_path, 2)
    (other / JOURNAL).write_bytes(b"rubbish" * 1000)
    with pytest.raises(JournalUnusable, match="has no model yet that tells whether it fits: submit its folder again"):
        restore(tmp_path / "copy", other)
    model = to_safetensors(np.zeros(2, np.float32), ModelSchema((TensorSpec("w", (2,)),)))
    BlobStore(other / BLOBS).put(model)
    restore(tmp_path / "copy", other)
    again = opened(other, "job-2")
    assert again.load() is not None
    again.close()


def test_the_backup_of_another_model_is_refused(directory: Path, tmp_path: Path) -> None:
    journal = opened(directory)
    journal.commit(snapshot())
    journal.close()
    backup(directory, tmp_path / "copy")
    other = another(tmp_path, 3)
    with pytest.raises(JournalUnusable, match=r"and it does not fit: its model has 2 numbers, that of job-2 3"):
        restore(tmp_path / "copy", other)
    own = contents(other / JOURNAL)[0]
    assert (own.job_id, own.version) == ("job-2", 0), "nothing has changed"


def test_a_damaged_backup_is_refused_and_the_journal_stays(directory: Path, tmp_path: Path) -> None:
    journal = opened(directory)
    journal.commit(snapshot())
    journal.close()
    for rubbish in (b"", b"rubbish" * 1000):
        (tmp_path / "copy").write_bytes(rubbish)
        with pytest.raises(JournalDamaged):
            restore(tmp_path / "copy", directory)
    again = opened(directory)
    assert_same(again.load(), snapshot())
    again.close()
