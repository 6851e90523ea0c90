"""Backups through the API: how many at once, and only with room for them."""

import asyncio
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.control.world import World, submitted
from tests.unit.job.test_sqlite_journal import opened, snapshot
from turnout.control.incoming import BACKUPS_MAX, SPARE_BYTES
from turnout.job import backup
from turnout.job.directory import JOURNAL
from turnout.job.sqlite_journal import SqliteJournal

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


async def test_only_so_many_backups_are_made_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, journal = await with_journal(world)
    go_on, begun = threading.Event(), threading.Semaphore(0)
    really = backup.backup

    def slow(*given: Any) -> backup.Contents:
        begun.release()
        go_on.wait(5)
        return really(*given)

    monkeypatch.setattr(backup, "backup", slow)
    path = f"/api/jobs/{job_id}/backup"
    under_way = [asyncio.create_task(world.ask("GET", path)) for _ in range(BACKUPS_MAX)]
    for _ in under_way:
        await asyncio.to_thread(begun.acquire)
    refused = await world.call("GET", path)
    assert (refused.status, refused.detail) == (503, f"{BACKUPS_MAX} backups are being made; try again soon")
    go_on.set()
    assert [answer.status for answer in await asyncio.gather(*under_way)] == [200] * BACKUPS_MAX
    assert (await world.call("GET", path)).status == 200
    journal.close()


async def test_a_backup_that_does_not_fit_on_the_disk_is_not_begun(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, journal = await with_journal(world)
    directory = world.jobs.folder(job_id)
    needed = sum((directory / f"{JOURNAL}{suffix}").stat().st_size for suffix in ("", "-wal"))
    free = needed + SPARE_BYTES - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    refused = await world.call("GET", f"/api/jobs/{job_id}/backup")
    assert refused.status == 503
    assert refused.detail == (
        f"no backup could be made: it may need {needed:,} bytes and {SPARE_BYTES:,} must stay free, but the disk of "
        f"{tmp_path / 'incoming'} has {free:,}"
    )
    free += 1
    assert (await world.call("GET", f"/api/jobs/{job_id}/backup")).status == 200
    journal.close()
