"""A job's process and its journal on disk: what the next process finds, and what it refuses to go on from."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from tests.unit.job.test_process import ask, ask_task, make_version, report, write_folder
from turnout.blobs.folder import BlobStore
from turnout.job.exits import EXIT_NOT_OURS
from turnout.job.folder.budget import DiskBudget
from turnout.job.folder.directory import JOURNAL, LOCK, PUBLISHED, RECORDER
from turnout.job.folder.folder import load_job_folder
from turnout.job.journal import damage
from turnout.job.journal.journal import JournalDamaged, JournalUnusable
from turnout.job.journal.recorder import Moment, Phase, Published, Recorder, newest, read
from turnout.job.journal.sqlite import SqliteJournal, read_snapshot
from turnout.job.process import JobProcess
from turnout.messages import JobStatus, Status, Topic
from turnout.process.heartbeat import Pulse

pytestmark = pytest.mark.anyio

LASTING = """
name = "tiny"
[training]
workflow = "buffered"
buffer_goal = 2
concurrency = 10
[stop]
versions = 1000
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "folder")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "tiny-1"
    made.mkdir()
    return made


@asynccontextmanager
async def started(
    folder: Path, directory: Path, bytes_max: int = 10**9, pulse: Pulse | None = None
) -> AsyncIterator[JobProcess]:
    """The job's process, until the block ends."""
    journal = SqliteJournal(directory, "tiny-1", bytes_max=bytes_max, lock_patience_s=0)
    try:
        process = JobProcess(load_job_folder(folder), "tiny-1", BlobStore(directory / "blobs"), journal, pulse)
    except BaseException:
        journal.close()
        raise
    process.shell.start()
    yield process
    await process.close()


async def status_of(process: JobProcess) -> JobStatus:
    return await ask(process, Topic.STATUS, b"", JobStatus)


async def test_the_next_process_has_the_version_the_buffer_the_leases_and_the_key(
    folder: Path, directory: Path
) -> None:
    async with started(folder, directory) as first:
        late = await ask_task(first, "late")
        await make_version(first, "a", "b", 1.0)
        task = await ask_task(first, "c")
        assert (await report(first, "c", task, 7.0)).counted
        before = await status_of(first)
    async with started(folder, directory) as second:
        assert (await ask_task(second, "late")).task_id == late.task_id, "the lease lives"
        after = await status_of(second)
        assert (after.version, after.buffered, after.counted, after.training) == (1, 1, 3, 1)
        assert after.model_sha256 == before.model_sha256
        assert (await report(second, "c", task, 7.0)).duplicate, "it counted in the first process"
        assert (await report(second, "late", late, 7.0)).counted
        assert second.core.version == 2, "one result of the first process and one of this make a version"
        assert second.core.model.tolist()[0] > 1


async def test_job_time_goes_on_where_it_was(folder: Path, directory: Path) -> None:
    async with started(folder, directory) as first:
        await ask_task(first, "a")
        first.core.parts.pacing.next_free = 1e6
        await report(first, "b", await ask_task(first, "b"), 1.0)
        lived_s = first.shell.status().uptime_s
    async with started(folder, directory) as second:
        assert 0 <= second.shell.status().uptime_s <= lived_s + 1
        assert second.core.parts.pacing.next_free == 1e6


async def test_a_killed_process_leaves_word_of_what_was_interrupted(folder: Path, directory: Path) -> None:
    async with started(folder, directory) as first:
        await report(first, "a", await ask_task(first, "a"), 1.0)
        await asyncio.sleep(0)
    moment = read(directory)
    assert moment is not None
    assert moment.commit >= 2
    assert (moment.staged, moment.version) == (0, 0)


async def test_at_no_moment_does_the_recorder_call_a_commit_durable_that_is_not(folder: Path, directory: Path) -> None:
    """A process killed at such a moment would find its journal damaged."""
    moments: list[tuple[int, int]] = []
    async with started(folder, directory) as process:
        loop = asyncio.get_running_loop()

        def look() -> None:
            noted, snapshot = read(directory), read_snapshot(directory / JOURNAL)
            moments.append((noted.durable if noted else 0, snapshot.commit if snapshot else 0))
            if not process.ended.is_set():
                loop.call_soon(look)

        look()
        await make_version(process, "a", "b", 1.0)
        await report(process, "c", await ask_task(process, "c"), 1.0)
        process.ended.set()
    assert len(moments) > 10
    assert all(noted <= durable for noted, durable in moments)
    assert max(durable for _, durable in moments) >= 3


async def test_a_process_that_was_replaced_answers_nobody_and_ends(folder: Path, directory: Path) -> None:
    async with started(folder, directory) as stale:
        task = await ask_task(stale, "a")
        (directory / LOCK).unlink()  # as on a file system without locks
        async with started(folder, directory) as newer:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await report(stale, "a", task, 1.0)
            await asyncio.wait_for(stale.ended.wait(), 5)
            assert stale.exit_code == EXIT_NOT_OURS
            assert "has taken over" in stale.gave_up
            assert (await report(newer, "a", task, 1.0)).counted


async def test_a_damaged_journal_is_said_with_the_last_good_version_and_the_way_out(
    folder: Path, directory: Path
) -> None:
    async with started(folder, directory) as process:
        await make_version(process, "a", "b", 1.0)
        sha256 = process.shell.status().model_sha256
    with (directory / JOURNAL).open("r+b") as file:
        file.truncate(9000)
    with pytest.raises(JournalDamaged) as raised:
        async with started(folder, directory):
            pass
    said = damage.explained(raised.value, directory)
    assert "is damaged" in said
    assert f"The last good version is 1, whole in {directory / 'blobs' / sha256}.safetensors" in said
    assert "turnout restore tiny-1 FILE" in said


async def test_a_model_that_is_damaged_too_is_not_called_good(folder: Path, directory: Path) -> None:
    async with started(folder, directory) as process:
        await make_version(process, "a", "b", 1.0)
    for blob in (directory / "blobs").iterdir():
        blob.write_bytes(b"rubbish")
    assert "No model of this job is intact" in damage.advice(directory)


async def killed_after_versions(folder: Path, directory: Path, killed: Path) -> None:
    """Copy what a process leaves that is killed after three versions in a moment and the commit that follows them."""
    (folder / "job.toml").write_text(LASTING)
    async with started(folder, directory) as process:
        for _ in range(3):
            await make_version(process, "a", "b", 1.0)
        await report(process, "a", await ask_task(process, "a"), 1.0)
        shutil.copytree(directory, killed)


async def test_the_last_good_version_after_a_kill_is_the_newest(folder: Path, directory: Path, tmp_path: Path) -> None:
    await killed_after_versions(folder, directory, tmp_path / "killed")
    assert "The last good version is 3, whole in " in damage.advice(tmp_path / "killed")


async def test_the_model_that_the_durable_note_names_is_there_when_the_recorder_is_lost_with_the_power(
    folder: Path, directory: Path, tmp_path: Path
) -> None:
    await killed_after_versions(folder, directory, tmp_path / "killed")
    (tmp_path / "killed" / RECORDER).unlink()
    assert "The last good version is " in damage.advice(tmp_path / "killed")


async def test_a_model_that_no_note_names_any_more_is_removed(folder: Path, directory: Path, tmp_path: Path) -> None:
    killed = tmp_path / "tiny-2"
    await killed_after_versions(folder, directory, killed)
    recent = newest(killed)
    assert recent is not None
    older = [blob for blob in (killed / "blobs").iterdir() if blob.stem != recent.sha256]
    async with started(folder, killed) as process, asyncio.timeout(60):
        while any(blob.exists() for blob in older):
            await report(process, "a", await ask_task(process, "a"), 1.0)
            await report(process, "b", await ask_task(process, "b"), 1.0)


async def test_a_log_that_lost_its_end_is_damage(folder: Path, directory: Path, tmp_path: Path) -> None:
    """SQLite ignores the rest of a log from the first damaged frame on: it would go back to an older commit."""
    async with started(folder, directory) as process:
        await report(process, "a", await ask_task(process, "a"), 1.0)
        early = tmp_path / "early"
        shutil.copytree(directory, early, ignore=shutil.ignore_patterns("*.unfinished"))  # its process runs
        await report(process, "b", await ask_task(process, "b"), 1.0)
        (directory / "recorder").rename(early / "recorder")
    with pytest.raises(JournalDamaged, match=r"it ends at commit \d+, but commit \d+ was durable"):
        async with started(folder, early):
            pass


async def test_a_journal_that_is_gone_is_damage_and_not_a_new_job(folder: Path, directory: Path) -> None:
    async with started(folder, directory) as process:
        await make_version(process, "a", "b", 1.0)
    (directory / JOURNAL).unlink()
    with pytest.raises(JournalDamaged, match="is gone, though this job has run"):
        damage.check_presence(directory)


async def test_a_journal_of_another_model_is_refused(folder: Path, directory: Path) -> None:
    async with started(folder, directory) as process:
        await make_version(process, "a", "b", 1.0)
    (folder / "model.py").write_text((folder / "model.py").read_text().replace("zeros(3", "zeros(4"))
    with pytest.raises(JournalUnusable, match="a model of 3 numbers, and the job folder's has 4"):
        async with started(folder, directory):
            pass


async def test_a_job_beyond_its_disk_budget_is_full_and_goes_on_when_there_is_room(
    folder: Path, directory: Path
) -> None:
    async with started(folder, directory) as process:
        task = await ask_task(process, "a")
        used = DiskBudget(directory, directory / "blobs", 10**9).used()
        process.budget.bytes_max = used // 2
        other = await ask_task(process, "b")
        assert (await report(process, "a", task, 1.0)).counted, "it does not make a version"
        refused = await report(process, "b", other, 1.0)
        assert (refused.status, refused.counted) == (Status.RETRY, False)
        status = await status_of(process)
        assert status.state == "FULL"
        assert "acknowledged: the job's disk budget is used up" in status.waiting_for
        process.budget.bytes_max = 10**9
        assert (await report(process, "b", other, 1.0)).counted, "answered by the next try, a second later"
        assert process.core.version == 1


# --- the recorder -------------------------------------------------------------------------------------------------


def test_a_recorder_keeps_what_is_durable_when_the_next_process_dies_in_recovery(tmp_path: Path) -> None:
    first = Recorder(tmp_path)
    first.note(Phase.COMMITTING, 3, 8, 2, closing=True)
    first.close()
    second = Recorder(tmp_path)
    assert second.before == Moment(Phase.COMMITTING, closing=True, staged=3, commit=8, version=2)
    second.close()
    third = Recorder(tmp_path)
    assert third.before is not None
    assert (third.before.phase, third.before.durable) == (Phase.RECOVERY, 7), "commit 8 was never known to be durable"
    third.close()


def test_a_process_that_was_told_to_end_was_not_interrupted(tmp_path: Path) -> None:
    first = Recorder(tmp_path)
    first.note(Phase.COMMITTING, 3, 8, 2)
    first.close(told_to_end=True)
    second = Recorder(tmp_path)
    assert second.before is not None
    assert second.before.in_order
    assert second.before.durable == 7
    second.close()


def test_a_recorder_tells_the_newest_version_beside_what_is_being_done(tmp_path: Path) -> None:
    first = Recorder(tmp_path)
    first.note(Phase.OPEN, 0, 8, 2)
    assert newest(tmp_path) is None, "as in what earlier releases wrote"
    first.published(Published(2, "ab" * 32))
    first.note(Phase.COMMITTING, 1, 9, 2)
    first.close()
    Recorder(tmp_path).close()
    assert newest(tmp_path) == Published(2, "ab" * 32)
    assert read(tmp_path) == Moment(Phase.RECOVERY, closing=False, staged=0, commit=8, version=2)


def test_a_file_that_is_no_recording_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "recorder").write_bytes(b"\xff" * 24)
    assert read(tmp_path) is None
    assert read(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (Moment(Phase.RECOVERY, False, 0, 7, 2), "while it recovered commit 7"),
        (Moment(Phase.OPEN, False, 3, 7, 2), "between commits, with 3 results not acknowledged"),
        (Moment(Phase.COMMITTING, False, 3, 8, 2), "while it wrote commit 8, with 3 results not acknowledged"),
        (Moment(Phase.COMMITTING, True, 3, 8, 2), "while it closed version 2, with 3 results not acknowledged"),
        (Moment(Phase.COMMITTED, True, 3, 8, 2), "after commit 8 was durable and before who waits for it was answered"),
        (Moment(Phase.ENDED, False, 0, 8, 2), "after its end"),
    ],
)
def test_a_moment_is_told_in_words(moment: Moment, words: str) -> None:
    assert str(moment) == words


def test_published_versions_are_read_back(tmp_path: Path) -> None:
    assert damage.note_published(tmp_path, Published(3, "ab"))
    assert msgspec.json.decode((tmp_path / PUBLISHED).read_bytes()) == {"version": 3, "sha256": "ab"}


# --- progress -----------------------------------------------------------------------------------------------------


class Signs(Pulse):
    """Keeps what the supervisor would hear."""

    def __init__(self) -> None:
        super().__init__(None)
        self.progressed = 0

    def progress(self) -> None:
        self.progressed += 1


async def test_only_a_newly_counted_result_or_version_is_progress(folder: Path, directory: Path) -> None:
    """Else a job that fails whenever it has started would be started for ever."""
    signs = Signs()
    async with started(folder, directory, pulse=signs) as process:
        task = await ask_task(process, "a")
        assert signs.progressed == 0, "that it runs, and has given out tasks, is none"
        assert (await report(process, "a", task, 1.0)).counted
        assert signs.progressed == 1
    signs = Signs()
    async with started(folder, directory, pulse=signs) as process:
        assert (await report(process, "a", task, 1.0)).duplicate
        await ask_task(process, "b")
        assert signs.progressed == 0, "it only has what the process before it had"


async def test_the_newest_model_is_there_from_the_first_moment_of_the_next_process(
    folder: Path, directory: Path
) -> None:
    async with started(folder, directory) as first:
        await make_version(first, "a", "b", 1.0)
        sha256 = first.shell.status().model_sha256
    async with started(folder, directory):
        assert (directory / "blobs" / f"{sha256}.safetensors").exists()


async def test_a_result_that_breaks_the_core_ends_the_process_and_not_the_sum(folder: Path, directory: Path) -> None:
    async with started(folder, directory) as process:
        task = await ask_task(process, "a")
        process.core.counted.add = None  # type: ignore[method-assign, assignment]  # fails after the sum has changed
        with pytest.raises(AssertionError, match="could not be handled; the sha256 of its update is"):
            await report(process, "a", task, 1.0)
    async with started(folder, directory) as again:
        assert again.core.parts.aggregator.count == 0
        assert (await report(again, "a", task, 1.0)).counted
