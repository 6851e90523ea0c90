"""Whatever is uploaded, the answer says what is wrong with it, is no 5xx, and does not say where it was kept."""

import io
import struct
import warnings
import zipfile

import pytest

from tests.unit.control.world import JOB_TOML, MODEL, World, zipped

pytestmark = pytest.mark.anyio

ENTRIES = 100_000
GOOD = zipped(job__toml=JOB_TOML, model__safetensors=MODEL)


def of_names(*names: str) -> bytes:
    target = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w") as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name in names:
            archive.writestr(name, b"x")
    return target.getvalue()


def with_an_empty_name() -> bytes:
    """zipfile writes none: the one name is shortened in both places where it stands."""
    whole = of_names("z")
    local = whole[:26] + struct.pack("<H", 0) + whole[28:30] + whole[31:]
    directory = local.index(b"PK\x01\x02")
    middle = local[directory : directory + 28] + struct.pack("<H", 0) + local[directory + 30 : directory + 46]
    end = local[local.index(b"PK\x05\x06") :]
    return local[:directory] + middle + end[:12] + struct.pack("<II", 46, directory) + end[20:]


def elsewhere(offset: int) -> bytes:
    """The list of files is said to be somewhere else."""
    end = GOOD.index(b"PK\x05\x06")
    return GOOD[: end + 16] + struct.pack("<I", offset) + GOOD[end + 20 :]


HOSTILE = {
    "nothing": b"",
    "no zip": b"hello",
    "an empty name": with_an_empty_name(),
    "a file and a folder of one name": of_names("job.toml", "a", "a/b"),
    "a folder and a file of one name": of_names("job.toml", "a/b", "a"),
    "a name twice": of_names("job.toml", "job.toml"),
    "a name that leads out": of_names("job.toml", "../../x"),
    "an absolute name": of_names("/etc/passwd"),
    "a name with NUL and control characters": of_names("job.toml", "a\x1b[2Jb"),
    "a name of a thousand bytes": of_names("job.toml", "n" * 1000),
    "a hundred levels": of_names("job.toml", "d/" * 100 + "x"),
    "a list before the file": elsewhere(0xFFFFFFF0),
    "a list beyond the file": elsewhere(len(GOOD) + 5),
    "half": GOOD[: len(GOOD) // 2],
    "without its end": GOOD[:-1],
}


async def judged(world: World, body: bytes, kind: str = "application/zip", path: str = "/api/jobs") -> int:
    answer = await world.call("POST", path, body, content_type=kind)
    assert 400 <= answer.status < 500, answer.body
    assert str(world.data) not in answer.detail
    assert answer.detail
    return answer.status


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_zip_is_the_sender_s_mistake(world: World, body: bytes) -> None:
    assert await judged(world, body) == 422
    assert world.orders == []
    assert list((world.data / "incoming").iterdir()) == []


async def test_a_zip_of_very_many_entries_is_refused_by_the_size_of_its_list(world: World) -> None:
    assert await judged(world, of_names(*(f"{number}" for number in range(ENTRIES)))) == 422


@pytest.mark.parametrize("at", range(0, len(GOOD), 7))
async def test_a_zip_with_one_byte_changed_is_taken_or_refused(world: World, at: int) -> None:
    changed = GOOD[:at] + bytes([GOOD[at] ^ 0xFF]) + GOOD[at + 1 :]
    answer = await world.call("POST", "/api/jobs", changed, content_type="application/zip")
    assert answer.status in (201, 422), answer.body


@pytest.mark.parametrize("body", [b"", b"x" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
async def test_a_backup_that_is_none_is_refused_without_a_path(world: World, body: bytes) -> None:
    job_id = (await world.submit(job__toml=JOB_TOML, model__safetensors=MODEL)).json["job_id"]
    world.end(job_id)
    assert await judged(world, body, "application/vnd.sqlite3", f"/api/jobs/{job_id}/restore") == 409


async def test_code_that_fails_is_told_without_a_path_and_sees_no_secret_of_the_server(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SECRET", "abc")
    code = b"import os\nraise OSError(repr(sorted(os.environ)) + __file__)\n"
    answer = await world.submit(job__toml=JOB_TOML, model__py=code)
    assert answer.status == 422
    assert "'PATH'" in answer.detail
    assert "CLOUD_SECRET" not in answer.detail
    assert str(world.data) not in answer.detail
