"""Where the sockets of a server lie, and how it is found."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from turnout.control.jobs import new_job_id
from turnout.errors import TurnoutError
from turnout.transport import socket_folder
from turnout.transport.address import UNIX_PATH_BYTES_MAX
from turnout.transport.listening import CannotListen, bind


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for sockets; that of pytest may not."""
    with tempfile.TemporaryDirectory(prefix="t-") as place:
        yield Path(place)


def test_sockets_lie_in_the_data_folder_when_nothing_else_can_be_written_to(short: Path) -> None:
    (short / "f").touch()
    data = short / "data"
    data.mkdir()
    assert socket_folder.first_fit([short / "f" / "turnout", data / "run"]) == data / "run"
    assert list((data / "run").iterdir()) == []  # the trial left nothing


def test_where_no_sockets_can_be_made_each_folder_is_named_with_its_reason(short: Path) -> None:
    (short / "f").touch()
    deep = short / ("x" * socket_folder.WITHIN_BYTES_MAX)
    with pytest.raises(TurnoutError) as told:
        socket_folder.first_fit([short / "f" / "turnout", deep])
    assert f"there is no folder {short / 'f'}" in str(told.value)
    assert f"{deep} has " in str(told.value)
    assert "XDG_RUNTIME_DIR" in str(told.value)


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """As somebody who may not search the folder, which root always may."""
    folder.chmod(0)
    if root := os.geteuid() == 0:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o700)


def test_a_folder_that_may_not_be_searched_is_passed_over(short: Path) -> None:
    shut, fit = short / "shut", short / "fit"
    for folder in (shut, fit):
        folder.mkdir()
    short.chmod(0o777)
    fit.chmod(0o777)
    with closed(shut):
        assert socket_folder.unfit(shut / "turnout") == f"the folder {shut} cannot be used: Permission denied"
        assert "Permission denied" in socket_folder.unfit(shut / "deeper" / "turnout")
        assert socket_folder.first_fit([shut / "turnout", fit / "turnout"]) == fit / "turnout"
        assert socket_folder.find_folder("8710", [shut / "turnout", fit / "turnout"]) == fit / "turnout" / "8710"
        with pytest.raises(TurnoutError, match=r"Permission denied.*XDG_RUNTIME_DIR"):
            socket_folder.find_folder("8710", [shut / "turnout"])
        with pytest.raises(CannotListen):
            bind(str(shut / "turnout" / "socket"))


def test_the_folder_of_a_server_is_the_one_that_is_there(short: Path) -> None:
    first, second = short / "first", short / "second"
    (second / "8710").mkdir(parents=True)
    assert socket_folder.find_folder("8710", [first, second]) == second / "8710"
    assert socket_folder.find_folder("8711", [first, second]) == first / "8711"


def test_the_data_folder_is_the_last_resort(tmp_path: Path) -> None:
    assert list(socket_folder.roots(tmp_path))[-1] == tmp_path / "run"
    assert tmp_path / "run" not in list(socket_folder.roots())


def test_the_longest_socket_path_fits_every_system() -> None:
    address = socket_folder.job_address(Path("/tmp/turnout-4294967295/65535"), "x" * 33)
    assert len(str(address)) <= UNIX_PATH_BYTES_MAX
    assert len(f"/{address.name}") == socket_folder.SOCKET_NAME_MAX


def test_the_longest_id_of_a_job_is_what_its_socket_s_name_has_room_for() -> None:
    assert len(new_job_id("x" * 50, "0123abcd")) == 33
