"""The page at ``/`` of the control process: a few files for a browser, which does the rest through the API.

Nothing comes from elsewhere and no build makes it. Charts are drawn by plotly's JavaScript out of the installed
``plotly`` package; without it the page shows numbers and tables.

The policy allows no inline script, no inline style and no eval. Plotly adds its rules to the style sheet whose id is
``plotly.js-style-global``; in ``index.html`` that is a linked file, so that nothing inline is needed.
"""

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HERE = Path(__file__).parent
PLOTLY_PATH = "/static/plotly.min.js"
NO_PLOTLY = b"// plotly is not installed: pip install 'turnout[dashboard]'\n"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # ask each time; the ETag makes the answer short
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to be sent; ``packed`` is its gzip form."""

    media_type: str
    plain: bytes
    packed: bytes
    etag: str


def routes(plotly: Path | None = None) -> list[Route]:
    """``/``, the files that it names, and ``plotly`` (None: the installed one). What is read is kept: some 6 MB."""
    kept: dict[str, Asset] = {}

    async def answer(request: Request) -> Response:
        path = request.url.path
        if path not in kept:
            kept[path] = await asyncio.to_thread(_read, files[path])
        return _respond(request, kept[path])

    files = {f"/{file.name}": file for file in HERE.iterdir() if file.suffix in TYPES}
    files |= {"/": HERE / "index.html", PLOTLY_PATH: plotly or _plotly()}
    return [Route(path, answer, include_in_schema=False) for path in files]


def _plotly() -> Path:
    """Where plotly's JavaScript is; a file that does not exist when plotly is not installed. Does not import it."""
    spec = find_spec("plotly")
    package = Path(spec.origin).parent if spec is not None and spec.origin else Path("plotly-is-not-installed")
    return package / "package_data" / "plotly.min.js"


def _read(file: Path) -> Asset:
    try:
        plain = file.read_bytes()
    except FileNotFoundError:
        plain = NO_PLOTLY
    etag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
    return Asset(TYPES[file.suffix], plain, gzip.compress(plain, 6), etag)


def _respond(request: Request, asset: Asset) -> Response:
    headers = {**HEADERS, "ETag": asset.etag}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=asset.media_type)
    return Response(asset.plain, headers=headers, media_type=asset.media_type)
