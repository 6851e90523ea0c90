"""The API's client against a server that is played: how far it is, whose mistake it was, what is left of a break."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnout.client.client import ControlClient
from turnout.errors import (
    JobFolderError,
    NotAllowedError,
    NotFoundError,
    ServerError,
    TurnoutError,
    UnreachableError,
    UsageError,
)

PATIENCE_S = 10.0
JOB = b'{"job_id":"a-1","name":"a","state":"running","submitted_at":1.0}'


class Played:
    """Gives each answer to one request, and keeps what it was sent last."""

    def __init__(self, *answers: bytes) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(PATIENCE_S)
        self._answers = answers
        self.got = b""
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        self._thread.join(PATIENCE_S)
        self._listening.close()

    def _serve(self) -> None:
        for answer in self._answers:
            connection, _ = self._listening.accept()
            self.got = b""
            with connection:
                connection.settimeout(PATIENCE_S)
                while not self._whole():
                    self.got += connection.recv(1 << 16)
                connection.sendall(answer)

    def _whole(self) -> bool:
        head, end, body = self.got.partition(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return bool(end) and len(body) >= (int(length[0].partition(b":")[2]) if length else 0)


@pytest.fixture
def servers() -> Iterator[list[Played]]:
    started: list[Played] = []
    yield started
    for server in started:
        server.close()


def answered(status: str, body: bytes, length: int | None = None, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def played(servers: list[Played], *answers: bytes, token: str = "") -> tuple[Played, ControlClient]:
    servers.append(Played(*answers))
    return servers[-1], ControlClient(servers[-1].url, token)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("401 Unauthorized", NotAllowedError),
        ("403 Forbidden", NotAllowedError),
        ("404 Not Found", NotFoundError),
        ("409 Conflict", ServerError),
        ("422 Unprocessable Entity", JobFolderError),
    ],
)
def test_a_refusal_is_the_error_that_it_was(servers: list[Played], status: str, kind: type[TurnoutError]) -> None:
    _, client = played(servers, answered(status, b'{"detail":"no, because"}'))
    with pytest.raises(TurnoutError, match=r"^no, because$") as caught:
        client.job("a-1")
    assert type(caught.value) is kind


def test_a_job_is_cancelled_on_a_server_that_knows_it_by_the_former_name(servers: list[Played]) -> None:
    server, client = played(servers, answered("404 Not Found", b"Not Found"), answered("200 OK", JOB))
    assert client.cancel("a-1").job_id == "a-1"
    assert server.got.startswith(b"POST /api/jobs/a-1/abort HTTP/1.1\r\n")


def test_a_job_that_is_not_there_is_not_found_by_either_name(servers: list[Played]) -> None:
    _, client = played(servers, *[answered("404 Not Found", b'{"detail":"no job a-1"}')] * 2)
    with pytest.raises(NotFoundError, match=r"^no job a-1$"):
        client.cancel("a-1")


def test_a_server_without_tls_is_said_to_have_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_in_plain_text() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer_in_plain_text)
        thread.start()
        with pytest.raises(UnreachableError, match=r"does not speak TLS \(WRONG_VERSION_NUMBER\); try http://"):
            ControlClient(f"https://127.0.0.1:{listening.getsockname()[1]}").jobs()
        thread.join(PATIENCE_S)


def test_another_kind_of_server_is_said_to_be_one(servers: list[Played]) -> None:
    _, client = played(servers, answered("404 Not Found", b"<html>"))
    with pytest.raises(NotFoundError, match="answered 404 Not Found; is it the API of turnout"):
        client.jobs()
    _, client = played(servers, answered("200 OK", b"<html>"))
    with pytest.raises(ServerError, match="did not answer as turnout does"):
        client.jobs()
    _, client = played(servers, b"SSH-2.0-OpenSSH_9.2\r\n")
    with pytest.raises(UnreachableError, match="does not answer"):
        client.jobs()


def test_nobody_there_is_said_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnreachableError, match="start a server with: turnout up"):
        ControlClient(f"http://127.0.0.1:{port}").jobs()


def test_the_token_goes_with_every_request_and_the_path_of_a_proxy_before_it(servers: list[Played]) -> None:
    server, _ = played(servers, answered("200 OK", JOB))
    ControlClient(f"{server.url}/turnout/", "turnout_x").cancel("a-1")
    assert server.got.startswith(b"POST /turnout/api/jobs/a-1/cancel HTTP/1.1\r\n")
    assert b"Authorization: Bearer turnout_x\r\n" in server.got


@pytest.mark.parametrize("token", ["é", "\x00"])
def test_what_cannot_be_a_token_is_never_sent(token: str) -> None:
    with pytest.raises(TurnoutError, match="invalid token"):
        ControlClient("http://127.0.0.1:9", token)


@pytest.mark.parametrize("token", ["turnout_x\n", " turnout_x", "a\r\nHost: b", "a b"])
def test_a_token_with_spaces_or_line_ends_is_refused_by_name_and_not_shown(token: str) -> None:
    with pytest.raises(UsageError) as refused:
        ControlClient("http://127.0.0.1:9", token)
    assert str(refused.value) == "the token has spaces or line ends in it; give it without them"


@pytest.mark.parametrize("url", ["http://x:8711\n", " http://x", "http://x/ y", "x\t"])
def test_an_address_with_spaces_or_line_ends_is_refused_by_name(url: str) -> None:
    with pytest.raises(UsageError, match=r"the address .* has spaces or line ends in it"):
        ControlClient(url)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:70000"])
def test_what_cannot_be_a_server_is_said(url: str) -> None:
    with pytest.raises(TurnoutError, match=r"is not a server URL|invalid port"):
        ControlClient(url)


def test_a_download_tells_how_far_it_is_and_appears_whole(servers: list[Played], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    body = bytes(600_000)
    _, client = played(servers, answered("200 OK", body, X_Model_Version="7"))
    version = client.model("a-1", tmp_path / "new" / "m", progress=lambda done, total: told.append((done, total)))
    assert version == 7
    assert (tmp_path / "new" / "m").read_bytes() == body
    assert told[-1] == (600_000, 600_000)
    assert len(told) > 1


def test_a_download_is_on_the_disk_before_it_is_said_to_be_saved(
    servers: list[Played], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, int, list[str]]] = []

    def fsync(fd: int) -> None:
        found = os.fstat(fd)
        synced.append((found.st_ino, found.st_size, [file.name for file in tmp_path.iterdir()]))

    monkeypatch.setattr(os, "fsync", fsync)
    _, client = played(servers, answered("200 OK", b"saved", X_Model_Version="7"))
    client.backup("a-1", tmp_path / "copy")
    (file, size, names), (folder, _, now) = synced
    assert (file, size, len(names)) == ((tmp_path / "copy").stat().st_ino, 5, 1), "whole, then named"
    assert (names[0].startswith("copy."), names[0].endswith(".unfinished")) == (True, True)
    assert (folder, now) == (tmp_path.stat().st_ino, ["copy"])


def test_a_download_that_breaks_off_leaves_nothing(servers: list[Played], tmp_path: Path) -> None:
    _, client = played(servers, answered("200 OK", b"half", length=8))
    with pytest.raises(ServerError, match="was interrupted"):
        client.backup("a-1", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written_is_the_users_mistake(servers: list[Played], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _, client = played(servers, answered("200 OK", b"model"))
    with pytest.raises(UsageError, match="cannot be written"):
        client.model("a-1", tmp_path / "file" / "below")


def test_a_submission_tells_how_far_packing_and_sending_are(servers: list[Played], tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text("name = 'a'")
    (tmp_path / "model.safetensors").write_bytes(bytes(3_000_000))
    packing: list[tuple[int, int]] = []
    sending: list[tuple[int, int]] = []
    server, client = played(servers, answered("201 Created", JOB))
    job = client.submit(tmp_path, lambda *told: sending.append(told), lambda *told: packing.append(told))
    assert job.job_id == "a-1"
    assert packing[-1] == (3_000_010, 3_000_010)
    assert [done for done, _ in packing] == sorted(done for done, _ in packing)
    done, total = sending[-1]
    assert done == total == len(server.got.partition(b"\r\n\r\n")[2])
