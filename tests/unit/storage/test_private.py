"""What others may open of what we make: nothing, whatever the umask."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnout.control.store import Store
from turnout.fleet.ledger import Ledger
from turnout.storage import durable, private


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """All that is made may be read and written by everybody, unless somebody sees to it."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def another_account() -> int:
    """Its number. Only root can give away a file."""
    if os.geteuid():
        pytest.skip("needs root, to make a file of another account")
    return 12345


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_is_private_from_when_it_is_made(tmp_path: Path) -> None:
    os.close(private.create(tmp_path / "key"))
    assert mode(tmp_path / "key") == 0o600


def test_a_file_that_was_open_is_closed_and_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"old")
    os.close(private.create(tmp_path / "key"))
    assert (mode(tmp_path / "key"), (tmp_path / "key").read_bytes()) == (0o600, b"")


def test_a_file_that_is_there_keeps_what_is_in_it_when_it_is_only_touched(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"rows")
    private.touch(tmp_path / "db")
    assert (mode(tmp_path / "db"), (tmp_path / "db").read_bytes()) == (0o600, b"rows")


def test_what_is_no_file_keeps_its_mode(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o666)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.close(private.create(tmp_path / "pipe"))
    os.close(reader)
    assert mode(tmp_path / "pipe") == 0o666


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "letter").write_bytes(b"old")
    (tmp_path / "key").symlink_to(tmp_path / "letter")
    for make in (private.create, private.touch):
        with pytest.raises(OSError, match="symbolic"):
            make(tmp_path / "key")
    assert (tmp_path / "letter").read_bytes() == b"old"


def test_a_file_of_another_account_that_lets_us_write_is_neither_emptied_nor_written(
    tmp_path: Path, another_account: int
) -> None:
    (tmp_path / "key").write_bytes(b"theirs")
    os.chmod(tmp_path / "key", 0o666)
    os.chown(tmp_path / "key", another_account, -1)
    with pytest.raises(PermissionError, match="another account"):
        private.create(tmp_path / "key")
    assert (mode(tmp_path / "key"), (tmp_path / "key").read_bytes()) == (0o666, b"theirs")


def test_nobody_can_have_put_a_file_or_link_where_one_is_written(tmp_path: Path) -> None:
    (tmp_path / "letter").write_bytes(b"old")
    for place in ("file.unfinished", "file"):
        (tmp_path / place).symlink_to(tmp_path / "letter")
    durable.write(tmp_path / "file", b"secret")
    assert ((tmp_path / "letter").read_bytes(), (tmp_path / "file").read_bytes()) == (b"old", b"secret")
    assert not (tmp_path / "file").is_symlink()


def test_what_a_process_that_was_killed_has_not_finished_is_removed_and_no_more(tmp_path: Path) -> None:
    for name in ("[a]", "[a].b"):
        os.close(private.unfinished(tmp_path / name)[0])
    private.discard_unfinished(tmp_path, "[a]")
    assert [path.name[:6] for path in tmp_path.iterdir()] == ["[a].b."]
    (tmp_path / "b").touch()
    private.discard_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_durable_files_stores_and_ledgers_are_private(tmp_path: Path) -> None:
    durable.write(tmp_path / "file", b"x")
    store = Store(tmp_path / "control.sqlite")
    Ledger(tmp_path / "ledger").close()
    names = ["control.sqlite", "control.sqlite-shm", "control.sqlite-wal", "file", "ledger"]
    assert {path.name: mode(path) for path in tmp_path.iterdir()} == dict.fromkeys(names, 0o600)
    store.close()


def old_data(folder: Path) -> Path:
    """A data folder as earlier releases made it."""
    (folder / "jobs" / "digits-1").mkdir(parents=True)
    for name in ("control.sqlite", "lock", "jobs/digits-1/journal.sqlite"):
        (folder / name).touch(0o644)
    (folder / "jobs" / "digits-1" / "run.sh").touch(0o755)
    return folder


def test_a_data_folder_that_is_open_is_closed_all_the_way_down(tmp_path: Path) -> None:
    data = old_data(tmp_path / "data")
    assert private.open_parts(data) == [data, data / "lock", data / "control.sqlite", data / "jobs"]
    assert private.close(data) == 7
    assert not [path for path in (data, *data.rglob("*")) if private.is_open(path)]
    assert mode(data / "jobs" / "digits-1" / "run.sh") == 0o700
    assert (private.open_parts(data), private.close(data)) == ([], 0)


def test_in_a_folder_that_holds_other_things_too_only_ours_are_closed(tmp_path: Path) -> None:
    data = old_data(tmp_path)
    (data / "notes.txt").touch(0o644)
    private.close(data)
    assert (mode(data / "notes.txt"), mode(data / "jobs"), mode(data / "control.sqlite")) == (0o644, 0o700, 0o600)
    assert private.open_parts(data) == []


def test_a_link_in_a_data_folder_closes_nothing_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch(0o644)
    data = old_data(tmp_path / "data")
    (data / "jobs" / "link").symlink_to(tmp_path / "mine")
    private.close(data)
    assert mode(tmp_path / "mine" / "letter") == 0o644


def test_a_data_folder_that_is_not_there_is_not_open(tmp_path: Path) -> None:
    assert private.open_parts(tmp_path / "nothing") == []
