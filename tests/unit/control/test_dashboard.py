"""The files of the dashboard as they are served."""

import gzip
import re
from html.parser import HTMLParser
from math import prod
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from turnout.control import dashboard
from turnout.job.folder.package import PACKED_BYTES_MAX

pytestmark = pytest.mark.anyio


async def get(path: str, routes: list[Route], **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": given}
    await Starlette(routes=routes)(scope, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent)


class Inline(HTMLParser):
    """What a page names, and what of it a strict policy would refuse."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.named: list[str] = []
        self.refused: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        target = given.get("src") or (given.get("href") if tag == "link" else None)
        self.named += [target] if target and not target.startswith("data:") else []
        self.refused += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.refused.append(tag)


async def test_the_page_names_only_files_that_are_served_beside_it() -> None:
    routes = dashboard.routes()
    _, _, body = await get("/", routes)
    page = Inline(body.decode())
    assert page.refused == []
    assert set(page.named) == {"style.css", "charts.css", "app.js"}
    for name in page.named:
        status, headers, _ = await get(f"/{name}", routes)
        assert status == 200
        assert headers["content-type"].startswith(dashboard.TYPES[Path(name).suffix])


async def test_every_module_imports_only_files_that_are_served() -> None:
    routes = dashboard.routes()
    served = {route.path for route in routes}
    for path in sorted(served - {dashboard.PLOTLY_PATH}):
        _, _, body = await get(path, routes)
        for name in re.findall(r'from "\./(.*?)";', body.decode()):
            assert f"/{name}" in served, f"{path} imports {name}"


async def test_every_answer_bears_a_policy_without_exceptions() -> None:
    for path in ("/", "/app.js", dashboard.PLOTLY_PATH):
        _, headers, _ = await get(path, dashboard.routes())
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


async def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    routes = dashboard.routes()
    _, headers, _ = await get("/app.js", routes)
    status, _, body = await get("/app.js", routes, if_none_match=headers["etag"])
    assert (status, body) == (304, b"")


async def test_a_file_is_packed_for_who_can_unpack_it() -> None:
    routes = dashboard.routes()
    _, headers, packed = await get("/style.css", routes, accept_encoding="gzip, br")
    _, _, plain = await get("/style.css", routes)
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == plain == (dashboard.HERE / "style.css").read_bytes()


async def test_the_python_of_the_package_is_not_served() -> None:
    status, _, _ = await get("/__init__.py", dashboard.routes())
    assert status == 404


async def test_a_missing_plotly_is_a_comment_that_says_how_to_install_it(tmp_path: Path) -> None:
    status, _, body = await get(dashboard.PLOTLY_PATH, dashboard.routes(tmp_path / "plotly.min.js"))
    assert status == 200
    assert b"pip install 'turnout[dashboard]'" in body


def test_modules_stay_small() -> None:
    for file in dashboard.HERE.glob("*.js"):
        assert file.read_text().count("\n") <= 300, file


def test_the_page_says_the_size_that_the_api_takes() -> None:
    said = re.search(r"BYTES_MAX = ([\d *]+);", (dashboard.HERE / "submit.js").read_text())
    assert said is not None
    assert prod(map(int, said[1].split("*"))) == PACKED_BYTES_MAX
