"""Nobody without a token can take the API from those who have one: over a real port, as an attacker would try."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.unit.control.world import OWNER, World
from turnout.client.client import ControlClient
from turnout.control.crowd import HEAD_S, STRANGERS_PER_PEER_MAX
from turnout.control.listening import HEAD_BYTES_MAX, drop, make_server
from turnout.errors import NotAllowedError

PATIENCE_S = 20.0
FLOOD = 4 * STRANGERS_PER_PEER_MAX
SILENT = 3 * STRANGERS_PER_PEER_MAX
HEADER = b"X-Fill: " + b"y" * 1000 + b"\r\n"
MEGABYTES = 64  #: More than the buffers of both ends of a socket take.


class Served:
    """Control's own server in a thread, without the clock: nobody is late."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._listen = socket.create_server(("127.0.0.1", 0))
        self.address = self._listen.getsockname()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server, self.crowd = make_server(World(self._data).app)
        self._ready.set()
        await self._server.serve(sockets=[self._listen])

    def ask(self, path: str, token: str = OWNER) -> int:
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        json.loads(answer.read())
        connection.close()
        return answer.status

    def pass_time(self, seconds: float) -> None:
        """Let the crowd believe that so much time has passed."""
        asyncio.run_coroutine_threadsafe(self._late(seconds), self._loop).result(PATIENCE_S)

    async def _late(self, seconds: float) -> None:
        drop(self.crowd.late(self._loop.time() + seconds))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the loop from its next turn."""
        here, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            here.set()
            go_on.wait(PATIENCE_S)

        self._loop.call_soon_threadsafe(hold)
        assert here.wait(PATIENCE_S)
        try:
            yield
        finally:
            go_on.set()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)
        self._listen.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


def connected(served: Served) -> socket.socket:
    return socket.create_connection(served.address, timeout=PATIENCE_S)


def is_closed(connection: socket.socket) -> bool:
    """Waits until it is."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_hundreds_of_silent_connections_keep_nobody_out(served: Served) -> None:
    with ExitStack() as held:
        for _ in range(SILENT):
            held.enter_context(connected(served))
        assert served.ask("/healthz") == served.ask("/api/jobs") == served.ask("/readyz") == 200
        assert len(served.crowd) <= STRANGERS_PER_PEER_MAX + 1


def test_a_flood_that_comes_at_once_does_not_take_the_connection_of_a_request_among_it(served: Served) -> None:
    head = f"GET /api/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OWNER}\r\n\r\n".encode()
    assert served.ask("/healthz") == 200  # so it listens
    with ExitStack() as held:
        with served.paused():  # so that all are there when the loop has its next turn
            owner = held.enter_context(connected(served))
            owner.sendall(head)
            for _ in range(FLOOD):
                held.enter_context(connected(served))
        assert owner.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_silent_connection_is_closed_when_its_time_is_over(served: Served) -> None:
    with connected(served) as silent:
        assert served.ask("/healthz") == 200  # so the silent one has been taken
        served.pass_time(HEAD_S)
        assert is_closed(silent)


@pytest.mark.parametrize("line", [b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"GET /"])
def test_a_head_without_an_end_is_cut_after_some_kilobytes(served: Served, line: bytes) -> None:
    more = HEADER if line.endswith(b"\n") else b"y" * 1000
    with connected(served) as endless:
        endless.sendall(line)
        with pytest.raises(ConnectionError):
            endless.sendall(MEGABYTES * 1000 * more)
    assert served.ask("/healthz") == 200


def test_a_head_of_the_largest_size_is_taken(served: Served) -> None:
    with connected(served) as large:
        head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
        fill = (HEAD_BYTES_MAX - len(head) - 100) // len(HEADER)
        large.sendall(head + fill * HEADER)
        large.sendall(b"\r\n")
        assert large.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_nobody_may_send_is_not_read_for_ever(served: Served) -> None:
    with connected(served) as refused:
        head = b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/zip\r\nContent-Length: 1000000\r\n\r\n"
        refused.sendall(head)
        assert refused.recv(4096).startswith(b"HTTP/1.1 401 ")
        served.pass_time(HEAD_S)
        refused.settimeout(PATIENCE_S)
        while not is_closed(refused):
            pass


def test_who_sends_much_in_vain_is_told_why(served: Served, tmp_path: Path) -> None:
    """The connection is closed on what is still being sent, yet the answer came before."""
    with (tmp_path / "backup").open("wb") as file:
        file.truncate(40 << 20)
    client = ControlClient("http://{}:{}".format(*served.address), "turnout_wrong")
    for _ in range(5):
        with pytest.raises(NotAllowedError, match="this token is unknown here"):
            client.restore("a-1", tmp_path / "backup")


def test_a_request_with_a_token_may_take_its_time(served: Served) -> None:
    with connected(served) as slow:
        bearer = f"Authorization: Bearer {OWNER}\r\n".encode()
        kind = b"Content-Type: application/json\r\nContent-Length: 34\r\n\r\n"
        slow.sendall(b"POST /api/tokens HTTP/1.1\r\nHost: x\r\n" + bearer + kind)
        while not served.crowd._friends:
            served.ask("/healthz")  # it has been read by the time that this is answered, or soon
        served.pass_time(1e6)
        slow.sendall(b'{"name": "slow", "scope": "admin"}')
        assert slow.recv(100).startswith(b"HTTP/1.1 201 ")
