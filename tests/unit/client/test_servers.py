"""Commands find the servers of their own account, and send a token to nobody else."""

import json
import os
import select
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from turnout.client import servers
from turnout.client.servers import Running
from turnout.errors import TurnoutError, UsageError
from turnout.storage import owner

USUAL = Running("http://127.0.0.1:8711", "turnout_usual", "/srv/usual", 1, "here")
OTHER = Running("http://127.0.0.1:9000", "turnout_other", "/srv/other", 2, "here")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without anything in it, and folders for what does not fit there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "home").mkdir()
    (tmp_path / "run").mkdir()
    return tmp_path / "home"


def announce(url: str = USUAL.url) -> servers.Announced:
    made = servers.announce(url, "turnout_x", Path("/srv/x"))
    assert made is not None
    return made


def test_a_server_is_found_while_it_runs_by_nobody_but_its_owner(home: Path) -> None:
    made = announce()
    assert [(found.url, found.token, found.data, found.pid) for found in servers.running()] == [
        (USUAL.url, "turnout_x", "/srv/x", os.getpid())
    ]
    assert made.path.is_relative_to(home)
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.path.parent.stat().st_mode & 0o777 == 0o700
    made.close()
    assert servers.running() == []


def test_the_file_of_a_server_that_was_killed_is_removed_and_its_token_sent_to_nobody(home: Path) -> None:
    made = announce()
    os.close(made.fd)  # as its end does
    assert servers.resolve(USUAL.url, "") == (USUAL.url, "")
    assert not made.path.exists()


def test_a_home_that_cannot_be_written_has_a_substitute(home: Path, tmp_path: Path) -> None:
    (home / ".local").touch()  # no folder can be made there
    made = announce()
    assert made.path.is_relative_to(tmp_path / "run")
    assert [found.url for found in servers.running()] == [USUAL.url]
    made.close()


def test_where_nothing_can_be_written_nobody_is_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".local").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / ".local"))
    assert servers.announce(USUAL.url, "turnout_x", tmp_path) is None
    assert servers.running() == []


def test_a_folder_that_others_may_write_is_not_looked_at(home: Path, tmp_path: Path) -> None:
    made = announce()
    made.path.parent.chmod(0o777)
    second = announce(OTHER.url)
    assert second.path.is_relative_to(tmp_path / "run")
    assert [found.url for found in servers.running()] == [OTHER.url]
    made.close()
    second.close()


def test_what_is_not_a_server_s_file_is_passed_over(home: Path) -> None:
    made = announce()
    (made.path.parent / "x.json").write_text("{")
    assert len(servers.running()) == 1
    made.close()


@pytest.mark.parametrize(
    ("given", "running", "used"),
    [
        (("", ""), [], (servers.DEFAULT_URL, "")),
        (("", ""), [OTHER], (OTHER.url, OTHER.token)),
        (("", ""), [OTHER, USUAL], (USUAL.url, USUAL.token)),
        (("", "mine"), [OTHER], (OTHER.url, "mine")),
        ((OTHER.url, ""), [OTHER, USUAL], (OTHER.url, OTHER.token)),
        (("localhost:9000", ""), [OTHER, USUAL], (OTHER.url, OTHER.token)),
        (("http://127.0.0.1:9001", ""), [OTHER, USUAL], ("http://127.0.0.1:9001", "")),
        (("http://turnout.example:9000", ""), [OTHER, USUAL], ("http://turnout.example:9000", "")),
        (("https://127.0.0.1:9000", ""), [OTHER, USUAL], ("https://127.0.0.1:9000", "")),
        ((OTHER.url, "mine"), [OTHER, USUAL], (OTHER.url, "mine")),
    ],
)
def test_a_token_goes_to_the_server_that_it_is_of(
    given: tuple[str, str], running: list[Running], used: tuple[str, str]
) -> None:
    assert servers.resolve(*given, running) == used


def test_where_several_run_one_must_be_named() -> None:
    third = Running("http://127.0.0.1:9100", "turnout_third", "/srv/third", 3, "here")
    with pytest.raises(UsageError, match=r"9000 with /srv/other; .*9100 .*name one with --url, or in TURNOUT_URL"):
        servers.resolve("", "", [OTHER, third])


@pytest.mark.parametrize("url", ["http://localhost:8711", "127.0.0.1:8711", "http://0.0.0.0:8711/"])
def test_a_server_of_this_machine_has_several_names(url: str) -> None:
    assert servers.is_same(USUAL.url, url)


@pytest.mark.parametrize("ours", ["http://[::1]:8711", "http://[::]:8711"])
def test_so_has_one_that_listens_at_version_6(ours: str) -> None:
    assert servers.is_same(ours, "http://localhost:8711")
    assert servers.is_same(ours, "[0:0::1]:8711")
    assert not servers.is_same(ours, USUAL.url)


@pytest.mark.parametrize(
    "url",
    [
        *("http://10.0.0.1:8711", "http://127.0.0.1:99999", "http://127.0.0.1", "http://x:8711"),
        *("http://[::1]:8711", "http://[::]:8711", "http://127.0.0.2:8711", "http://[::ffff:127.0.0.1]:8711"),
    ],
)
def test_other_servers_are_others(url: str) -> None:
    assert not servers.is_same(USUAL.url, url)


@pytest.mark.parametrize("typed", ["http://localhost:{}", "http://127.0.0.2:{}"])
def test_who_listens_at_another_address_of_this_machine_sees_no_token(typed: str) -> None:
    """Another account's server may have the port of ours there, and a name may lead to it."""
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)) as theirs:
            mine = Running(f"http://127.0.0.1:{port}", "turnout_mine", "/srv/mine", 1, "here")
            url, token = servers.resolve(typed.format(port), "", [mine])
            with socket.create_connection((urlsplit(url).hostname or "", port)):
                reached = select.select([ours, theirs], [], [], 5.0)[0]
            assert (reached == [ours]) == bool(token)


def test_a_machine_that_shares_the_home_neither_sends_a_token_nor_removes_the_file(
    home: Path,
) -> None:
    made = announce()
    os.close(made.fd)  # a lock that is taken there is not always seen here
    here = json.loads(made.path.read_bytes())
    made.path.write_text(json.dumps({**here, "machine": "another"}))
    assert (servers.running(), made.path.exists()) == ([], True)
    made.path.write_text(json.dumps(here))
    assert (servers.running(), made.path.exists()) == ([], False)


def test_a_container_that_shares_the_home_sends_no_token_to_an_address_of_its_own(home: Path) -> None:
    made = announce()
    made.path.write_text(json.dumps({**json.loads(made.path.read_bytes()), "network": "another"}))
    assert servers.running() == []
    made.close()


def test_the_owner_s_token_is_made_once_and_then_found(tmp_path: Path) -> None:
    token = owner.take(tmp_path)
    assert token == owner.take(tmp_path) != owner.new_token()
    assert (tmp_path / owner.FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / owner.FILE).unlink()
    assert owner.take(tmp_path) != token


@pytest.mark.parametrize("text", [b"", b"secret\n", b"\xff", b"turnout_short"])
def test_a_file_that_holds_no_token_is_said(tmp_path: Path, text: bytes) -> None:
    (tmp_path / owner.FILE).write_bytes(text)
    with pytest.raises(TurnoutError, match=r"owner\.token"):
        owner.take(tmp_path)
