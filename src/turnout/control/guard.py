"""Keeps web pages away from the API: a browser on this machine, where no token is needed, could be made to use it.

A page whose name was pointed at 127.0.0.1 (DNS rebinding) sends that name as ``Host``. A page of another origin may
send a POST unasked only with the content types of a form; any other, and any DELETE, makes its browser ask first, and
nobody answers.
Once tokens are needed any name will do, as behind a proxy: no page of others has a token, and no browser adds one.
"""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from turnout.control.problems import problem_response

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
FORM_TYPES = frozenset({"", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})


class Guard:
    """Wraps the app; refuses what a browser could be tricked into. ``any_name``: whether tokens are needed."""

    def __init__(self, app: ASGIApp, any_name: Callable[[], bool]) -> None:
        self._app = app
        self._any_name = any_name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None
        if scope["type"] == "http":
            refusal = objection(scope["method"], Headers(scope=scope), self._any_name())
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await problem_response(*refusal)(scope, receive, send)


def objection(method: str, headers: Headers, any_name: bool = False) -> tuple[HTTPStatus, str] | None:
    """Why a request is refused; None when it may pass."""
    host = _host(f"//{headers.get('host', '')}")
    if host not in LOOPBACK_NAMES and not any_name:
        return HTTPStatus.MISDIRECTED_REQUEST, "the Host header must be 127.0.0.1, localhost or [::1]"
    origin = headers.get("origin")
    own = LOOPBACK_NAMES | {host} if host else LOOPBACK_NAMES
    if origin is not None and _host(origin) not in own:
        return HTTPStatus.FORBIDDEN, "requests of web pages of other origins are refused"
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method == "POST" and content_type in FORM_TYPES:
        return (
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "give a Content-Type: application/zip for a job folder, else application/json",
        )
    return None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
