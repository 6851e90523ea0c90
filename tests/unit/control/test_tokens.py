"""Tokens: who may do what, from the first token on."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.control.world import Answer, World, submitted
from turnout.control.store import Store, has_tokens
from turnout.control.tokens import PREFIX, Tokens
from turnout.control.view import NewToken, Scope

pytestmark = pytest.mark.anyio


async def create(world: World, scope: str, token: str = "") -> Answer:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return await world.call(
        "POST", "/api/tokens", json.dumps({"name": f"a {scope}", "scope": scope}).encode(), **headers
    )


def bearer(answer: Answer) -> dict[str, Any]:
    return {"authorization": f"Bearer {answer.json['token']}"}


async def test_none_is_needed_on_the_loopback_until_there_is_one_and_then_everywhere(world: World) -> None:
    job_id = await submitted(world)
    assert (await world.call("GET", "/api/jobs")).status == 200
    admin = await create(world, "admin")
    assert admin.status == 201
    for operation in world.api.operations:
        path = operation.path.replace("{job_id}", job_id).replace("{token_id}", "x")
        answer = await world.call(operation.method, path)
        assert (answer.status == 401) == (operation.scope is not None), path
        assert ("www-authenticate" in answer.headers) == (operation.scope is not None)
    assert (await world.call("GET", "/api/jobs", **bearer(admin))).status == 200


async def test_what_is_open_to_all_says_nothing_of_jobs(world: World) -> None:
    open_to_all = {operation.path for operation in world.api.operations if operation.scope is None}
    assert open_to_all == {"/healthz", "/readyz", "/api/openapi.json", "/api/docs"}


@pytest.mark.parametrize("scope", Scope)
async def test_each_scope_includes_those_before_it_and_no_more(world: World, scope: Scope) -> None:
    admin = (await create(world, "admin")).json["token"]
    token = bearer(await create(world, scope, admin))
    for operation in world.api.operations:
        if operation.scope is not None:
            path = operation.path.replace("{job_id}", "nothing").replace("{token_id}", "nothing")
            answer = await world.call(operation.method, path, **token)
            allowed = list(Scope).index(operation.scope) <= list(Scope).index(scope)
            assert (answer.status != 403) == allowed, (operation.path, answer.body)


def test_a_token_is_shown_once_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "control.sqlite")
    made = Tokens(store, True, lambda: 5.0).create(NewToken("ci", Scope.ADMIN))
    assert made.token.startswith(PREFIX)
    assert Tokens(store, True, lambda: 6.0).all()[0].token == ""
    store.close()
    assert made.token.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Basic abc", "Bearer turnout_\x80"])
async def test_a_wrong_token_is_refused_in_words(world: World, given: str) -> None:
    await create(world, "admin")
    answer = await world.call("GET", "/api/jobs", authorization=given)
    assert answer.status == 401
    assert "token" in answer.detail


async def test_a_revoked_token_is_useless_at_once(world: World) -> None:
    admin = (await create(world, "admin")).json["token"]
    reader = await create(world, "read", admin)
    revoked = await world.call("DELETE", f"/api/tokens/{reader.json['token_id']}", authorization=f"bearer {admin}")
    assert revoked.status == 204
    assert (await world.call("GET", "/api/jobs", **bearer(reader))).status == 401
    listed = (await world.call("GET", "/api/tokens", authorization=f"Bearer {admin}")).json
    assert [(token["name"], token["scope"], "token" in token) for token in listed] == [("a admin", "admin", False)]


async def test_nobody_locks_everybody_out(world: World) -> None:
    assert (await create(world, "read")).status == 409
    admin = await create(world, "admin")
    reader = await create(world, "read", admin.json["token"])
    last = await world.call("DELETE", f"/api/tokens/{admin.json['token_id']}", **bearer(admin))
    assert (last.status, "last token with the scope admin" in last.detail) == (409, True)
    await world.call("DELETE", f"/api/tokens/{reader.json['token_id']}", **bearer(admin))
    assert (await world.call("DELETE", f"/api/tokens/{admin.json['token_id']}", **bearer(admin))).status == 204
    assert (await world.call("GET", "/api/jobs")).status == 200


async def test_off_the_loopback_a_token_is_always_needed(tmp_path: Path) -> None:
    world = World(tmp_path, loopback=False)
    assert (await world.call("GET", "/api/jobs", host="turnout.example")).status == 401
    assert (await world.call("POST", "/api/tokens", b'{"name": "x", "scope": "admin"}')).status == 401


async def test_once_tokens_are_needed_any_name_of_the_server_will_do_but_no_page_of_others(world: World) -> None:
    admin = bearer(await create(world, "admin"))
    assert (await world.call("GET", "/api/jobs", host="turnout.example", **admin)).status == 200
    own = {"host": "turnout.example", "origin": "https://turnout.example"}
    assert (await world.call("GET", "/api/jobs", **own, **admin)).status == 200
    assert (await world.call("GET", "/api/jobs", origin="https://evil.example", **admin)).status == 403


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"name": "x"}', b'{"name": "", "scope": "admin"}', b"\xff", b"x" * 5000]
)
async def test_a_token_that_makes_no_sense_is_refused(world: World, body: bytes) -> None:
    assert (await world.call("POST", "/api/tokens", body)).status in (400, 413)


def test_whether_there_are_tokens_is_seen_without_opening_the_store(tmp_path: Path) -> None:
    path = tmp_path / "control.sqlite"
    assert not has_tokens(path)
    store = Store(path)
    assert not has_tokens(path)
    Tokens(store, True, lambda: 5.0).create(NewToken("ci", Scope.ADMIN))
    store.close()
    assert has_tokens(path)
