"""The small HTTP client, against a server that answers by a script."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import trustme

from tests.unit.device.scripted import CLOSE, Asked, ScriptedServer, get, post, reply
from turnout.device.http import Deadlines, HttpClient, HttpLimits, Server, trust
from turnout.device.http_connection import HttpFailure
from turnout.errors import TurnoutError
from turnout.wire.edge_requests import HttpRequest

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Devices may run on either loop."""
    return "asyncio", {"use_uvloop": request.param}


def always(answer: bytes | None) -> ScriptedServer:
    return ScriptedServer(lambda asked: answer)


def in_turn(*answers: bytes | None) -> ScriptedServer:
    left: Iterator[bytes | None] = iter(answers)
    return ScriptedServer(lambda asked: next(left))


async def ask(server: ScriptedServer, *targets: str, limits: HttpLimits | None = None) -> list[object]:
    """Ask one after the other on one client; each outcome is (status, body), or the reason of the failure."""
    client = HttpClient(server.url, limits or HttpLimits())
    outcomes: list[object] = []
    for target in targets:
        try:
            answer = await client.request(get(target))
            outcomes.append((answer.status, answer.body))
        except HttpFailure as failure:
            outcomes.append(failure.reason)
    await client.close()
    return outcomes


async def test_requests_share_one_kept_alive_connection() -> None:
    async with ScriptedServer(lambda asked: reply(asked.target.encode())) as server:
        assert await ask(server, "/a", "/b", "/c") == [(200, b"/a"), (200, b"/b"), (200, b"/c")]
        assert server.connections == 1


async def test_a_request_says_what_http_wants() -> None:
    async with always(reply(b"")) as server:
        client = HttpClient(server.url + "/edge/v1/")
        await client.request(post("/job?x=1", b"{}"))
        await client.close()
        asked = server.asked[0]
        assert (asked.method, asked.target, asked.body) == ("POST", "/edge/v1/job?x=1", b"{}")
        assert asked.headers == {"host": f"127.0.0.1:{server.port}", "content-length": "2"}


async def test_a_chunked_reply_is_put_together() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with always(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") as server:
        assert await ask(server, "/", "/") == [(200, b"abcde"), (200, b"abcde")]


async def test_a_reply_without_a_length_ends_with_the_connection() -> None:
    async with always(b"HTTP/1.1 200 OK\r\n\r\nall of it" + CLOSE) as server:
        assert await ask(server, "/", "/") == [(200, b"all of it")] * 2


async def test_an_interim_reply_is_passed_over() -> None:
    async with always(b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b"x")) as server:
        assert await ask(server, "/", "/") == [(200, b"x")] * 2


async def test_after_connection_close_the_next_request_takes_a_new_connection() -> None:
    async with always(reply(b"x", 200, "Connection: close") + CLOSE) as server:
        assert await ask(server, "/", "/") == [(200, b"x")] * 2
        assert server.connections == 2


async def test_a_request_on_a_connection_that_was_closed_meanwhile_is_sent_again() -> None:
    async with in_turn(reply(b"1"), None, reply(b"2")) as server:
        assert await ask(server, "/", "/") == [(200, b"1"), (200, b"2")]


async def test_a_request_is_not_sent_again_more_than_once() -> None:
    async with in_turn(reply(b"1"), None, None, reply(b"2")) as server:
        assert await ask(server, "/", "/", "/") == [(200, b"1"), "broken", (200, b"2")]


async def test_a_connection_that_breaks_off_says_so_and_hands_over_what_came() -> None:
    async with always(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: x\r\n\r\nabc" + CLOSE) as server:
        client = HttpClient(server.url)
        with pytest.raises(HttpFailure, match="the connection broke") as caught:
            await client.request(get("/"))
        await client.close()
        partial = caught.value.partial
        assert partial is not None
        assert (partial.status, partial.headers[b"etag"], partial.body) == (200, b"x", b"abc")


async def test_nobody_at_the_door_is_a_failure_to_connect() -> None:
    async with always(None) as server:
        port = server.port
    client = HttpClient(f"http://127.0.0.1:{port}")
    with pytest.raises(HttpFailure, match=f"cannot connect to 127.0.0.1:{port}") as caught:
        await client.request(get("/"))
    assert caught.value.reason == "connect"
    await client.close()


async def test_a_server_that_stays_silent_is_given_up() -> None:
    async with ScriptedServer(silence) as server:
        assert await ask(server, "/", limits=HttpLimits(idle_timeout_s=0.05)) == ["timeout"]


async def test_a_server_that_takes_no_connection_in_time_is_given_up() -> None:
    async with ScriptedServer(silence) as server:
        limits = HttpLimits(connect_timeout_s=0.05)
        client = HttpClient(f"https://127.0.0.1:{server.port}", limits)  # it never answers TLS's first words
        with pytest.raises(HttpFailure, match=f"cannot connect to 127.0.0.1:{server.port}: no answer") as caught:
            await client.request(get("/"))
        assert caught.value.reason == "connect"
        await client.close()


async def test_clients_that_share_their_deadlines_are_each_kept_to_them() -> None:
    async with ScriptedServer(silence) as server:
        limits = HttpLimits(idle_timeout_s=0.05)
        deadlines = Deadlines(Server.of(server.url), limits)
        clients = [HttpClient(server.url, limits, deadlines=deadlines) for _ in range(3)]
        outcomes = await asyncio.gather(*(each.request(get("/")) for each in clients), return_exceptions=True)
        assert [cast(HttpFailure, outcome).reason for outcome in outcomes] == ["timeout"] * 3
        for client in clients:
            await client.close()


class Trickle(asyncio.Protocol):
    """A server that sends byte after byte of a reply that never ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        self.more()

    def more(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"x")
            asyncio.get_running_loop().call_later(0.001, self.more)


async def test_the_overall_limit_holds_while_bytes_still_trickle() -> None:
    server = await asyncio.get_running_loop().create_server(Trickle, "127.0.0.1", 0)
    limits = HttpLimits(idle_timeout_s=5.0, overall_timeout_s=0.05)
    client = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", limits)
    with pytest.raises(HttpFailure, match=r"did not answer within 0\.05 s") as caught:
        await client.request(get("/"))
    assert caught.value.reason == "timeout"
    await client.close()
    server.close()


async def test_a_reply_larger_than_its_limit_is_not_taken() -> None:
    limits = HttpLimits(reply_bytes_max=4)
    async with in_turn(reply(b"12345"), reply(b"1234")) as server:
        assert await ask(server, "/", "/", limits=limits) == ["too_large", (200, b"1234")]


async def test_endless_headers_are_not_taken() -> None:
    async with always(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000) as server:
        assert await ask(server, "/") == ["too_large"]


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", reply(b"a") + reply(b"b")])
async def test_what_is_not_one_http_reply_is_malformed(answer: bytes) -> None:
    async with always(answer) as server:
        assert await ask(server, "/") == ["malformed"]


async def test_connections_are_bounded_and_the_rest_wait_their_turn() -> None:
    async with ScriptedServer(lambda asked: reply(asked.target.encode())) as server:
        client = HttpClient(server.url, HttpLimits(connections_max=3))
        answers = await asyncio.gather(*(client.request(get(f"/{number}")) for number in range(20)))
        assert [answer.body for answer in answers] == [b"/%d" % number for number in range(20)]
        assert server.connections == client.connections == 3
        await client.close()
        assert client.connections == 0


async def test_a_large_request_that_is_refused_early_gets_its_answer() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(b"too late", 200, "Connection: close"))
        await answered.wait()
        writer.close()

    answered = asyncio.Event()
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    client = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    answer = await client.request(post("/result", bytes(20_000_000)))
    assert answer.body == b"too late"
    answered.set()
    await client.close()
    server.close()


async def test_closing_fails_what_waits() -> None:
    async with ScriptedServer(silence) as server:
        client = HttpClient(server.url)
        waiting = [asyncio.ensure_future(client.request(get("/"))) for _ in range(2)]
        await asyncio.sleep(0)
        await client.close()
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, HttpFailure)
            assert outcome.reason == "closed"


def test_urls_are_taken_apart() -> None:
    assert Server.of("http://example.org/edge/v1/") == Server("example.org", 80, False, "/edge/v1", "example.org")
    assert Server.of("https://[::1]:8443") == Server("::1", 8443, True, "", "[::1]:8443")


@pytest.mark.parametrize("url", ["", "example.org", "ftp://x", "http://", "http://x:99999", "http://x?y"])
def test_what_is_not_a_server_s_url_is_named(url: str) -> None:
    with pytest.raises(TurnoutError, match="is not a server URL"):
        Server.of(url)


@pytest.mark.parametrize("url", ["http://x:80\n", " http://x", "http://x:8\n0", "http://x/ y", "http://x\t"])
def test_an_address_with_spaces_or_line_ends_is_refused_by_name(url: str) -> None:
    """The parser drops some of them, and would send what was not given."""
    with pytest.raises(TurnoutError, match=r"the address .* has spaces or line ends in it"):
        Server.of(url)


async def silence(asked: Asked) -> bytes | None:
    await asyncio.sleep(600)
    return None


async def test_without_keep_the_connection_is_closed_after_the_reply() -> None:
    async with always(reply(b"x")) as server:
        client = HttpClient(server.url)
        for _ in range(2):
            done = asyncio.get_running_loop().create_future()
            client.submit(get("/"), done.set_result, keep=False)
            assert (await done).body == b"x"
        await client.close()
        assert server.connections == 2


async def test_a_request_that_is_abandoned_fails_at_once_wherever_it_has_got_to() -> None:
    arrived = asyncio.Event()

    def script(asked: Asked) -> asyncio.Future[bytes | None]:
        arrived.set()
        return asyncio.get_running_loop().create_future()

    async with ScriptedServer(script) as server:
        client = HttpClient(server.url)
        outcomes: list[object] = []
        sent, waits = (client.submit(get("/"), outcomes.append) for _ in range(2))
        await arrived.wait()
        for exchange in (waits, sent, sent):
            client.abandon(exchange)
        assert [cast(HttpFailure, outcome).reason for outcome in outcomes] == ["abandoned"] * 2
        await client.close()


async def test_a_server_with_https_is_trusted_by_the_authority_that_is_named(tmp_path: Path) -> None:
    authority, served = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "none.pem").write_text("nothing")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=served)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    request = HttpRequest("GET", "/", (), b"")
    client = HttpClient(url, tls=trust(tmp_path / "ca.pem"))
    assert (await client.request(request)).body == b"hi"
    await client.close()
    stranger = HttpClient(url)
    with pytest.raises(HttpFailure, match=r"certificate of 127\.0\.0\.1:\d+ is not trusted: .* \(--ca\)") as failed:
        await stranger.request(request)
    assert failed.value.reason == "certificate"
    await stranger.close()
    for name, what in (("none.pem", "holds no certificate"), ("absent.pem", "No such file")):
        with pytest.raises(TurnoutError, match=rf"--ca .*{name} cannot be read: .*{what}"):
            trust(tmp_path / name)
    server.close()
    await server.wait_closed()
