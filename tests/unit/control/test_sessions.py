"""Links to the dashboard work once, and a session has two halves of which neither opens anything alone."""

import json
from typing import Any

import pytest

from tests.unit.control.world import OWNER, Answer, World
from turnout.control.sessions import LINK_S, SESSION_S, Sealer, Session

pytestmark = pytest.mark.anyio


async def link(world: World, **headers: Any) -> str:
    return str((await world.call("POST", "/api/links", **headers)).json["code"])


async def begin(world: World, code: str) -> Answer:
    return await world.call("POST", "/api/session", json.dumps({"code": code}).encode(), authorization="")


def halves(answer: Answer) -> dict[str, Any]:
    """The headers that a browser sends from then on."""
    cookie = answer.headers["set-cookie"].partition(";")[0]
    return {"authorization": "", "cookie": cookie, "x_turnout_session": answer.json["page"]}


async def test_a_link_begins_a_session_that_may_do_what_its_maker_may(world: World) -> None:
    made = await begin(world, await link(world))
    assert made.status == 201
    both = halves(made)
    assert (await world.call("GET", "/api/jobs", **both)).status == 200
    assert (await world.call("POST", "/api/tokens", b'{"name": "ci", "scope": "view"}', **both)).status == 201


async def test_the_cookie_is_for_the_browser_alone_and_for_no_other_site(world: World) -> None:
    cookie = (await begin(world, await link(world))).headers["set-cookie"]
    assert cookie.endswith("; Max-Age=43200; Path=/; HttpOnly; SameSite=Strict")
    code = json.dumps({"code": await link(world)}).encode()
    behind = await world.call("POST", "/api/session", code, authorization="", x_forwarded_proto="https")
    assert behind.headers["set-cookie"].endswith("; Secure")


async def test_a_link_works_once_and_expires(world: World) -> None:
    used, unused = await link(world), await link(world)
    assert (await begin(world, used)).status == 201
    assert (await begin(world, used)).status == 401
    world.now += LINK_S
    assert (await begin(world, unused)).status == 401


@pytest.mark.parametrize("code", ["x", "owner.9999999999.abc.def", "." * 200, "é"])
async def test_a_made_up_link_opens_nothing(world: World, code: str) -> None:
    assert (await begin(world, code)).status == 401


async def test_neither_half_opens_anything_alone_nor_with_another_s(world: World) -> None:
    first, second = halves(await begin(world, await link(world))), halves(await begin(world, await link(world)))
    for given in (
        {"cookie": first["cookie"]},
        {"x_turnout_session": first["x_turnout_session"]},
        {**first, "x_turnout_session": second["x_turnout_session"]},
        {**first, "x_turnout_session": ""},
    ):
        assert (await world.call("GET", "/api/jobs", **{"authorization": "", **given})).status == 401


async def test_a_page_of_another_port_of_this_machine_cannot_use_a_session(world: World) -> None:
    both = halves(await begin(world, await link(world)))
    assert (await world.call("GET", "/api/jobs", **both, origin="http://127.0.0.1:3000")).status == 403


async def test_a_session_ends_by_itself_and_with_its_token(world: World) -> None:
    made = await world.call("POST", "/api/tokens", b'{"name": "me", "scope": "view"}')
    token = {"authorization": f"Bearer {made.json['token']}"}
    both = halves(await begin(world, await link(world, **token)))
    assert (await world.call("GET", "/api/jobs", **both)).status == 200
    assert (await world.call("POST", "/api/jobs/nothing/pause", **both)).status == 403
    await world.call("DELETE", f"/api/tokens/{made.json['token_id']}")
    assert (await world.call("GET", "/api/jobs", **both)).status == 401
    owners = halves(await begin(world, await link(world)))
    world.now += SESSION_S
    assert (await world.call("GET", "/api/jobs", **owners)).status == 401


async def test_a_token_begins_a_session_too(world: World) -> None:
    made = await world.call("POST", "/api/session", b"{}")
    assert (await world.call("GET", "/api/jobs", **halves(made))).status == 200
    assert (await world.call("POST", "/api/session", b"{}", authorization="")).status == 401


async def test_a_session_begins_no_other_and_its_links_end_with_it(world: World) -> None:
    both = halves(await begin(world, await link(world)))
    assert (await world.call("POST", "/api/session", b"{}", **both)).status == 401
    world.now += SESSION_S - 10.0
    made = await begin(world, await link(world, **both))
    assert (made.json["expires_at"], "; Max-Age=10;" in made.headers["set-cookie"]) == (5.0 + SESSION_S, True)
    world.now += 10.0
    assert (await world.call("GET", "/api/jobs", **halves(made))).status == 401


async def test_a_session_can_be_ended_and_stays_so_when_control_starts_again(world: World) -> None:
    first, second = halves(await begin(world, await link(world))), halves(await begin(world, await link(world)))
    ended = await world.call("DELETE", "/api/session", **first)
    assert (ended.status, "=; Max-Age=0;" in ended.headers["set-cookie"]) == (204, True)
    assert (await world.call("GET", "/api/jobs", **first)).status == 401
    assert (await world.call("DELETE", "/api/session", **first)).status == 401
    assert world.store.is_ended(first["cookie"].partition("=")[2])
    assert (await world.call("GET", "/api/jobs", **second)).status == 200


async def test_one_reading_of_the_proxy_s_header_serves_both_origin_and_cookie(world: World) -> None:
    code = json.dumps({"code": await link(world)}).encode()
    given = {"origin": "https://127.0.0.1:8711", "x_forwarded_proto": "HTTPS, http"}
    made = await world.call("POST", "/api/session", code, authorization="", **given)
    assert (made.status, made.headers["set-cookie"].endswith("; Secure")) == (201, True)


def test_what_another_server_has_sealed_opens_nothing_here() -> None:
    ours, theirs = Sealer(OWNER), Sealer("turnout_" + "p" * 43)
    assert theirs.open_link(ours.link("owner", 0.0), 0.0) is None
    assert theirs.open_session(ours.session("owner", 0.0), 0.0) is None
    assert ours.cookie_name != theirs.cookie_name
    code, session = ours.link("owner", 0.0), ours.session("owner", 0.0)
    assert ours.open_link(session.cookie, 0.0) is None
    assert ours.open_session(Session(code, session.page), 0.0) is None
