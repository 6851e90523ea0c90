"""Backups through the API, out and in: how many at once, and only with room for them."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.unit.control.world import JOB_TOML, MODEL, World, submitted
from tests.unit.job.journal.snapshots import snapshot
from tests.unit.job.journal.test_sqlite import opened
from turnout.control.incoming import BACKUPS_MAX, SPARE_BYTES
from turnout.control.routes.backups import SQLITE
from turnout.job.folder.directory import JOURNAL
from turnout.job.journal import backup
from turnout.job.journal.sqlite import SqliteJournal
from turnout.messages import JobStatus
from turnout.transport.orders import JobReport

pytestmark = pytest.mark.anyio


async def with_journal(world: World) -> tuple[str, SqliteJournal]:
    """A job that has committed, and runs."""
    job_id = await submitted(world)
    journal = opened(world.jobs.folder(job_id), job_id)
    journal.commit(snapshot())
    return job_id, journal


async def test_a_backup_says_which_version_it_has_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    job_id, journal = await with_journal(world)
    answer = await world.call("GET", f"/api/jobs/{job_id}/backup")
    assert (answer.status, answer.headers["x-model-version"]) == (200, "4")
    (tmp_path / "copy").write_bytes(answer.body)
    assert backup.contents(tmp_path / "copy")[0].job_id == job_id
    journal.close()
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_only_so_many_backups_are_made_at_once(world: World) -> None:
    job_id, journal = await with_journal(world)
    path = f"/api/jobs/{job_id}/backup"
    async with AsyncExitStack() as others:
        for _ in range(BACKUPS_MAX):
            await others.enter_async_context(world.api.incoming.backup(0))
        refused = await world.call("GET", path)
        assert (refused.status, refused.detail) == (503, f"{BACKUPS_MAX} backups are being made; try again soon")
    assert (await world.call("GET", path)).status == 200
    journal.close()


async def test_a_backup_that_does_not_fit_on_the_disk_is_not_begun(world: World, tmp_path: Path) -> None:
    job_id, journal = await with_journal(world)
    directory = world.jobs.folder(job_id)
    needed = sum((directory / f"{JOURNAL}{suffix}").stat().st_size for suffix in ("", "-wal"))
    world.free_bytes = needed + SPARE_BYTES - 1
    refused = await world.call("GET", f"/api/jobs/{job_id}/backup")
    assert refused.status == 503
    assert refused.detail == (
        f"not enough disk space for a backup: it may need {needed:,} bytes and {SPARE_BYTES:,} must stay free, but the "
        f"server's disk has {world.free_bytes:,}; make room, and try again"
    )
    world.free_bytes += 1
    assert (await world.call("GET", f"/api/jobs/{job_id}/backup")).status == 200
    journal.close()


async def test_what_is_sent_needs_room_for_itself_and_for_the_journal_made_of_it(world: World) -> None:
    job_id, journal = await with_journal(world)
    copy = (await world.call("GET", f"/api/jobs/{job_id}/backup")).body
    journal.close()
    world.end(job_id)
    path, said = f"/api/jobs/{job_id}/restore", str(len(copy))
    world.free_bytes = 2 * len(copy) + SPARE_BYTES - 1
    for length in ({"content_length": said}, {}):  # a sender may also not say how much will come
        refused = await world.call("POST", path, copy, content_type=SQLITE, **length)
        assert refused.status == 503
        assert refused.detail.startswith(f"not enough disk space for a backup: it may need {2 * len(copy):,} bytes")
    assert world.jobs.final(job_id) is not None, "nothing has changed"
    world.free_bytes += 1
    assert (await world.call("POST", path, copy, content_type=SQLITE, content_length=said)).status == 202


async def test_a_job_folder_needs_room_too(world: World) -> None:
    world.free_bytes = SPARE_BYTES
    refused = await world.submit(job__toml=JOB_TOML, model__safetensors=MODEL)
    assert (refused.status, world.orders) == (503, [])
    assert refused.detail.startswith("not enough disk space for a zipped job folder")


async def test_a_job_that_goes_on_from_a_backup_is_not_shown_as_it_was_before(world: World) -> None:
    job_id, journal = await with_journal(world)
    copy = (await world.call("GET", f"/api/jobs/{job_id}/backup")).body
    world.start(job_id, JobStatus(job_id, "digits", "OPEN", "buffered", version=9))
    assert (await world.call("GET", f"/api/jobs/{job_id}")).json["status"]["version"] == 9
    journal.close()
    world.processes.stop(world.jobs.running[job_id].address)
    world.jobs.heard(JobReport(job_id, code=1, reason="its disk has failed"))
    assert (await world.call("GET", f"/api/jobs/{job_id}")).json["status"]["version"] == 4, "as its journal says"
    assert (await world.call("POST", f"/api/jobs/{job_id}/restore", copy, content_type=SQLITE)).status == 202
    world.jobs.heard(JobReport(job_id, code=1, reason="it failed again before it said anything"))
    assert (await world.call("GET", f"/api/jobs/{job_id}")).json["status"]["version"] == 4
