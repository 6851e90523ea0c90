"""Backups of a job's journal, and going on from one."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.job.test_sqlite_journal import assert_same, opened, snapshot
from turnout.job.backup import Contents, NothingToBackUp, backup, contents, restore
from turnout.job.directory import FINAL, JOURNAL, RECORDER
from turnout.job.sqlite_journal import JobLocked, JournalDamaged, JournalUnusable


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
    assert_same(again.load(), replace(snapshot(), leases=(), blobs=()))
    assert not (directory / RECORDER).exists()
    assert not (directory / FINAL).exists()
    assert (directory / f"{JOURNAL}.replaced").exists(), "for whoever wants to look"
    again.close()


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


def test_a_backup_of_another_job_is_refused(directory: Path, tmp_path: Path) -> None:
    journal = opened(directory)
    journal.commit(snapshot())
    journal.close()
    backup(directory, tmp_path / "copy")
    other = tmp_path / "job-2"
    other.mkdir()
    with pytest.raises(JournalUnusable, match="is a backup of job job-1, not of job-2"):
        restore(tmp_path / "copy", other)
    assert not any(other.iterdir())


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
