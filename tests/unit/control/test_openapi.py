"""The API's description of itself is complete, and what the API does."""

import re
from html.parser import HTMLParser

import pytest
from openapi_spec_validator import validate
from starlette.routing import Route

from tests.unit.control.world import World
from turnout.control import reference

pytestmark = pytest.mark.anyio


async def test_every_route_is_in_the_document(world: World) -> None:
    document = (await world.call("GET", "/api/openapi.json")).json
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    served = {
        (route.path, method)
        for route in world.app.routes
        if isinstance(route, Route) and route.include_in_schema
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == described
    files = {r.path for r in world.app.routes if isinstance(r, Route) and not r.include_in_schema}
    assert all(path == "/" or path.endswith((".html", ".js", ".css")) for path in files)


async def test_the_document_is_openapi_as_its_specification_has_it(world: World) -> None:
    document = (await world.call("GET", "/api/openapi.json")).json
    validate(document)
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


class Links(HTMLParser):
    """The ids and the links of a page, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert not any(name.startswith("on") or name == "style" for name in given)
        self.ids.append(given.get("id") or "")
        self.links.append(given.get("href") or "")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_page_shows_every_route_and_needs_nothing_from_elsewhere(world: World) -> None:
    answer = await world.call("GET", "/api/docs")
    page = answer.body.decode()
    for operation in world.api.operations:
        assert f"<b>{operation.method}</b> {operation.path}</h3>" in page
    links = Links()
    links.feed(page)
    assert links.open == []
    assert {link[1:] for link in links.links if link.startswith("#")} <= set(links.ids)
    assert not re.search(r"https?://|<script", page)
    assert answer.headers["content-security-policy"] == reference.POLICY
    assert "style-src 'sha256-" in reference.POLICY
