"""Tokens: who may do what. Nobody may do anything without one."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.control.world import OWNER, Answer, World, submitted
from turnout.client.view import NewToken, Scope
from turnout.control.store import Store
from turnout.control.tokens import OWNER_ID, Tokens
from turnout.storage.owner import PREFIX

pytestmark = pytest.mark.anyio


async def create(world: World, scope: str) -> Answer:
    return await world.call("POST", "/api/tokens", json.dumps({"name": f"a {scope}", "scope": scope}).encode())


def bearer(answer: Answer) -> dict[str, Any]:
    return {"authorization": f"Bearer {answer.json['token']}"}


async def test_nothing_is_answered_without_a_token_not_even_on_this_machine(world: World) -> None:
    job_id = await submitted(world)
    for operation in world.api.operations:
        path = operation.path.replace("{job_id}", job_id).replace("{token_id}", "x")
        answer = await world.call(operation.method, path, b"{}", authorization="")
        needed = operation.scope is not None or operation.path == "/api/session"
        assert (answer.status == 401) == needed, path
        assert ("www-authenticate" in answer.headers) == needed
    assert (await world.call("GET", "/api/jobs")).status == 200


async def test_what_is_open_to_all_says_nothing_of_jobs(world: World) -> None:
    open_to_all = {operation.path for operation in world.api.operations if operation.scope is None}
    assert open_to_all == {"/healthz", "/readyz", "/api/session", "/api/openapi.json", "/api/docs"}


@pytest.mark.parametrize("scope", Scope)
async def test_each_scope_includes_those_before_it_and_no_more(world: World, scope: Scope) -> None:
    token = bearer(await create(world, scope))
    for operation in world.api.operations:
        if operation.scope is not None:
            path = operation.path.replace("{job_id}", "nothing").replace("{token_id}", "nothing")
            answer = await world.call(operation.method, path, **token)
            allowed = list(Scope).index(operation.scope) <= list(Scope).index(scope)
            assert (answer.status != 403) == allowed, (operation.path, answer.body)


async def test_only_who_may_submit_can_bring_code_and_only_an_admin_gets_keys(world: World) -> None:
    scopes = {(operation.method, operation.path): operation.scope for operation in world.api.operations}
    assert scopes["POST", "/api/jobs"] is Scope.SUBMIT
    assert scopes["POST", "/api/jobs/{job_id}/pause"] is Scope.OPERATE
    assert scopes["GET", "/metrics"] is Scope.VIEW
    assert scopes["GET", "/api/jobs/{job_id}/backup"] is scopes["POST", "/api/tokens"] is Scope.ADMIN


def test_a_token_is_shown_once_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "control.sqlite")
    made = Tokens(store, OWNER, lambda: 5.0).create(NewToken("ci", Scope.ADMIN))
    assert made.token.startswith(PREFIX)
    assert Tokens(store, OWNER, lambda: 6.0).all()[0].token == ""
    store.close()
    assert made.token.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("given", ["Bearer", "Bearer wrong", "Basic abc", "Bearer turnout_\x80", f"Basic {OWNER}"])
async def test_a_wrong_token_is_refused_in_words(world: World, given: str) -> None:
    answer = await world.call("GET", "/api/jobs", authorization=given)
    assert answer.status == 401
    assert "token" in answer.detail


async def test_a_revoked_token_is_useless_at_once(world: World) -> None:
    viewer = await create(world, "view")
    assert (await world.call("GET", "/api/jobs", **bearer(viewer))).status == 200
    listed = (await world.call("GET", "/api/tokens", authorization=f"bearer {OWNER}")).json
    assert [(token["name"], token["scope"], "token" in token) for token in listed] == [("a view", "view", False)]
    assert (await world.call("DELETE", f"/api/tokens/{viewer.json['token_id']}")).status == 204
    assert (await world.call("GET", "/api/jobs", **bearer(viewer))).status == 401
    assert (await world.call("DELETE", f"/api/tokens/{viewer.json['token_id']}")).status == 404


async def test_what_a_revoked_token_watches_ends_too(world: World) -> None:
    viewer, job_id = await create(world, "view"), await submitted(world)
    watching = asyncio.create_task(world.call("GET", f"/api/jobs/{job_id}/events", **bearer(viewer)))
    for _ in range(5):  # it is let in
        await asyncio.sleep(0)
    await world.call("DELETE", f"/api/tokens/{viewer.json['token_id']}")
    async with asyncio.timeout(10.0):
        assert (await watching).status == 200


async def test_nobody_locks_the_owner_out(world: World) -> None:
    admin = await create(world, "admin")
    refused = await world.call("DELETE", f"/api/tokens/{OWNER_ID}", **bearer(admin))
    assert (refused.status, "owner.token" in refused.detail) == (409, True)
    assert (await world.call("GET", "/api/jobs")).status == 200


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"\xff", b"x" * 5000),
        *(b'{"name": "x"}', b'{"name": "", "scope": "admin"}', b'{"name": "x", "scope": "write"}'),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(world: World, body: bytes) -> None:
    assert (await world.call("POST", "/api/tokens", body)).status in (400, 413)
