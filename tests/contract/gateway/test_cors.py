"""A page of another origin talks to the gateway, as a browser lets it: it asks with OPTIONS before it asks."""

import pytest

from tests.contract.gateway.conftest import PAGE, World
from tests.unit.gateway.fakes import MODEL, TASK, get, http

pytestmark = pytest.mark.anyio

OTHER = "https://other.example"
ALLOW, EXPOSE = "access-control-allow-origin", "access-control-expose-headers"


def preflight(target: str, origin: str, method: str = "POST", headers: str = "x-flare-device-id") -> bytes:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return get(target, "OPTIONS", Origin=origin, **asked)


@pytest.mark.parametrize("target", ["/job", "/task?job_id=small", "/selection", "/result", "/blob/small/" + "0" * 64])
async def test_a_page_that_may_is_told_what_it_may_send(world: World, target: str) -> None:
    device = await world.connect()
    reply = await device.ask(preflight(target, PAGE), head=True)
    assert (reply.status, reply.headers[ALLOW], reply.headers["vary"]) == (204, PAGE, "Origin")
    assert {"x-flare-device-id", "x-flare-device-info", "content-type"} <= {
        name.strip().lower() for name in reply.headers["access-control-allow-headers"].split(",")
    }
    assert ("GET" if "blob" in target else "POST") in reply.headers["access-control-allow-methods"]
    assert (await device.ask(TASK)).status == 200  # the connection lives on


@pytest.mark.parametrize(
    "asks",
    [
        preflight("/job", OTHER),
        preflight("/job", PAGE + ".evil.example"),
        preflight("/job", "null"),
        get("/job", "OPTIONS", Origin=PAGE),
        get("/job", "OPTIONS"),
    ],
)
async def test_who_may_not_or_does_not_ask_is_refused_as_ever(world: World, asks: bytes) -> None:
    reply = await world.ask(asks)
    assert reply.status == 405
    assert "access-control-allow-methods" not in reply.headers


async def test_a_page_that_may_can_read_every_reply(world: World) -> None:
    sha256 = world.put(MODEL)
    requests = [
        http("/task?job_id=small", b'{"accept": ["safetensors"]}', Origin=PAGE),
        http("/task", Origin=PAGE),
        http("/nowhere", Origin=PAGE),
        get(f"/blob/small/{sha256}", Origin=PAGE),
        get("/healthz", Origin=PAGE),
    ]
    device = await world.connect()
    replies = [await device.ask(request) for request in [*requests, requests[0]]]
    assert [reply.status for reply in replies] == [200, 400, 404, 200, 200, 200]
    assert {reply.headers[ALLOW] for reply in replies} == {PAGE}
    assert {"ETag", "Retry-After"} <= set(replies[3].headers[EXPOSE].split(", "))


async def test_other_pages_and_devices_get_no_word_of_it(world: World) -> None:
    for request in (http("/task?job_id=small", b'{"accept": ["safetensors"]}', Origin=OTHER), TASK):
        reply = await world.ask(request)
        assert reply.status == 200
        assert ALLOW not in reply.headers
