"""One server per port and per data folder, in folders that nobody else can enter."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from turnout.errors import TurnoutError
from turnout.supervisor import runtime


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_the_folder_of_a_server_is_private_and_gone_after_it(root: Path) -> None:
    taken = runtime.take(8710, root)
    assert taken.folder == root / "8710"
    assert taken.folder.stat().st_mode & 0o777 == 0o700
    taken.release()
    assert not taken.folder.exists()


def test_a_port_is_taken_once_and_the_second_is_told_by_whom(root: Path) -> None:
    taken = runtime.take(8710, root)
    with pytest.raises(runtime.PortInUse, match=rf"port 8710 is in use: .*\(pid {os.getpid()}\).*--port"):
        runtime.take(8710, root)
    taken.release()
    runtime.take(8710, root).release()


def test_other_ports_are_other_servers(root: Path) -> None:
    first, second = runtime.take(8710, root), runtime.take(8720, root)
    first.release()
    second.release()


def test_what_a_killed_server_left_in_the_folder_is_removed(root: Path) -> None:
    (root / "8710").mkdir(mode=0o700, parents=True)
    root.chmod(0o700)
    (root / "8710" / "feed").touch()
    (root / "8710" / "lock").touch()
    taken = runtime.take(8710, root)
    assert [path.name for path in taken.folder.iterdir()] == ["lock"]
    taken.release()


def test_old_folders_of_killed_servers_are_removed_but_not_those_of_living_ones(root: Path) -> None:
    living = runtime.take(8710, root)
    killed, new = root / "8720", root / "8730"
    for folder in (killed, new):
        folder.mkdir(mode=0o700)
        (folder / "lock").touch()
    for folder in (killed, living.folder):
        os.utime(folder, (0, 0))
    runtime.take(8740, root).release()
    assert sorted(path.name for path in root.iterdir()) == ["8710", "8730"]
    living.release()


def test_a_folder_that_others_can_enter_is_refused(root: Path) -> None:
    root.mkdir(mode=0o755)
    with pytest.raises(TurnoutError, match=r"must be a folder that only you can open \(mode 0700\)"):
        runtime.take(8710, root)


def test_a_link_in_place_of_the_folder_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    root.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TurnoutError, match="must be a folder"):
        runtime.take(8710, root)


def test_a_data_folder_serves_one_server_at_a_time(tmp_path: Path) -> None:
    runtime.make_data(tmp_path / "a" / "data")
    lock = runtime.take_data(tmp_path / "a" / "data")
    with pytest.raises(TurnoutError, match=rf"in use by another turnout \(pid {os.getpid()}\).*--data"):
        runtime.take_data(tmp_path / "a" / "data")
    os.close(lock)
    os.close(runtime.take_data(tmp_path / "a" / "data"))


def test_a_data_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TurnoutError, match="cannot be used: Not a directory"):
        runtime.make_data(tmp_path / "file" / "data")


# --- what removes the folder ---


def test_a_folder_that_is_removed_with_its_lock_is_made_and_locked_again(root: Path) -> None:
    taken = runtime.take(8710, root)
    assert not taken.keep()
    shutil.rmtree(root)
    assert taken.keep()
    assert not taken.keep()
    assert taken.folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(runtime.PortInUse):
        runtime.take(8710, root)
    taken.release()


def test_a_folder_that_cannot_be_made_again_is_named_with_the_way_out(root: Path) -> None:
    taken = runtime.take(8710, root)
    shutil.rmtree(root)
    root.touch()
    with pytest.raises(TurnoutError, match=rf"{root}.*XDG_RUNTIME_DIR"):
        taken.keep()


# --- names and addresses ---


def addresses(*found: tuple[socket.AddressFamily, str]) -> runtime.LookUp:
    """A name that has these addresses, in the system's order."""
    return lambda host, port, **_: [(family, socket.SOCK_STREAM, 6, "", (where, port)) for family, where in found]


def test_a_name_with_an_ipv6_address_only_is_that_address() -> None:
    found = runtime.resolve("six", 8710, addresses((socket.AF_INET6, "fd00::99")))
    assert found == (socket.AF_INET6, ("fd00::99", 8710))


def test_a_name_with_addresses_of_both_kinds_is_its_first_ipv4_address() -> None:
    found = addresses((socket.AF_INET6, "::1"), (socket.AF_INET, "10.0.0.1"), (socket.AF_INET, "10.0.0.2"))
    assert runtime.resolve("both", 8710, found) == (socket.AF_INET, ("10.0.0.1", 8710))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_every_listener_takes_addresses_and_names(host: str) -> None:
    try:
        listening = runtime.listen(host, 0, "--port")
    except TurnoutError:
        pytest.skip(f"{host} cannot be listened on here")
    reserved = runtime.reserve(host, 0, "--grpc-port")
    assert listening.family == reserved.family
    listening.close()
    reserved.close()


def test_a_name_that_nobody_knows_is_one_line() -> None:
    for listen in (runtime.listen, runtime.reserve):
        with pytest.raises(TurnoutError, match=r"cannot listen on no\.such\.name\.invalid port 0: "):
            listen("no.such.name.invalid", 0, "--port").close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_some_hosts_are_reached_from_this_machine_only(host: str) -> None:
    assert runtime.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_any_other_host_may_be_reached_from_elsewhere(host: str) -> None:
    assert not runtime.is_loopback(host)


def test_a_port_of_another_program_is_refused_and_the_option_named() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(runtime.PortInUse, match=r"in use by another program.*--control-port"),
    ):
        runtime.listen("127.0.0.1", other.getsockname()[1], "--control-port", patience_s=0)
