"""The last account of a job is lost with the power, and made anew from its journal."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from tests.unit.job.test_process import make_version, write_folder
from tests.unit.job.test_process_recovery import started
from turnout.errors import TurnoutError
from turnout.job.core.states import Kind
from turnout.job.folder.directory import BLOBS, FINAL, JOURNAL, PUBLISHED
from turnout.job.journal.journal import JournalDamaged
from turnout.job.journal.sqlite import SqliteJournal
from turnout.job.remade import read_final, remake_final, write_final
from turnout.messages import JobStatus

COMPLETED = Kind.COMPLETED.value

pytestmark = pytest.mark.anyio
#: What is lost with the process: how long its last answers and commits took, and the moment at which it was asked.
OF_THE_PROCESS = {"ack_ms": {}, "commit_ms": {}, "uptime_s": 0.0, "waiting": 0, "waiting_for": ""}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "tiny-1"
    made.mkdir()
    return made


async def complete(directory: Path) -> JobStatus:
    """Run the job in this directory to its end; its account."""
    async with started(directory / "folder", directory) as process:
        await make_version(process, "a", "b", 1.0)
        await make_version(process, "c", "d", 2.0)
        await asyncio.wait_for(process.ended.wait(), 20)
    final = read_final(directory)
    assert final is not None
    assert final.state == COMPLETED
    return final


def kept(status: JobStatus) -> JobStatus:
    return msgspec.structs.replace(status, **OF_THE_PROCESS)


@pytest.mark.parametrize(
    "left", [None, b"", bytes(4096), b'{"job_id":"tiny-1","na'], ids=["gone", "empty", "nul", "half"]
)
async def test_whatever_a_power_cut_leaves_of_it_the_account_is_made_anew_and_the_same(
    directory: Path, left: bytes | None
) -> None:
    write_folder(directory / "folder")
    settings = directory / "folder" / "job.toml"
    settings.write_text("seed = 7\n" + settings.read_text())
    final = await complete(directory)
    assert final.seed == 7
    if left is None:
        (directory / FINAL).unlink()
    else:
        (directory / FINAL).write_bytes(left)
    assert read_final(directory) is None
    remade = remake_final(directory, COMPLETED, final.finished)
    assert differ(kept(remade), kept(final)) == {}
    write_final(directory, remade)
    assert read_final(directory) == remade
    assert (directory / BLOBS / f"{remade.model_sha256}.safetensors").exists()
    assert json.loads((directory / FINAL).read_bytes())["version"] == 2


async def test_nothing_of_the_job_s_own_code_runs_for_it(directory: Path) -> None:
    write_folder(directory / "folder")
    final = await complete(directory)
    (directory / FINAL).unlink()
    for name in ("model.py", "server.py"):
        (directory / "folder" / name).write_text("raise SystemExit('it ran')")
    assert remake_final(directory, COMPLETED, final.finished).version == 2


async def test_the_newest_model_is_found_or_written_again_without_the_note_of_its_name(directory: Path) -> None:
    write_folder(directory / "folder")
    final = await complete(directory)
    (directory / FINAL).unlink()
    (directory / PUBLISHED).unlink()
    newest = directory / BLOBS / f"{final.model_sha256}.safetensors"
    before = newest.read_bytes()
    assert remake_final(directory, COMPLETED, "").model_sha256 == final.model_sha256
    other = directory / BLOBS / f"{'0' * 64}.safetensors"  # of another version, with the names of the tensors
    other.write_bytes(before[:-4] + b"\0\0\0\0")
    newest.unlink()
    assert remake_final(directory, COMPLETED, "").model_sha256 == final.model_sha256
    assert newest.read_bytes() == before


async def test_without_any_file_of_a_model_the_account_says_that_there_is_none(directory: Path) -> None:
    write_folder(directory / "folder")
    final = await complete(directory)
    for blob in (directory / BLOBS).iterdir():
        blob.unlink()
    remade = remake_final(directory, COMPLETED, final.finished)
    assert (remade.model_sha256, remade.version, remade.counted) == ("", 2, 4)


async def test_a_journal_that_is_damaged_or_empty_tells_nothing(directory: Path) -> None:
    write_folder(directory / "folder")
    SqliteJournal(directory, "tiny-1").close()
    with pytest.raises(TurnoutError, match="holds no commit"):
        remake_final(directory, COMPLETED, "")
    (directory / JOURNAL).write_bytes(b"no database" * 100)
    with pytest.raises(JournalDamaged):
        remake_final(directory, COMPLETED, "")
    assert not (directory / FINAL).exists()


def differ(one: JobStatus, other: JobStatus) -> dict[str, tuple[object, object]]:
    """The fields in which they differ."""
    pairs = {field: (getattr(one, field), getattr(other, field)) for field in one.__struct_fields__}
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}
