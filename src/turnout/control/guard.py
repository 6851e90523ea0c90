"""Keeps web pages away from the API: it has no authentication, so a browser on this machine could be made to use it.

A page whose name was pointed at 127.0.0.1 (DNS rebinding) sends that name as ``Host``. A page of another origin may
send a POST unasked only with the content types of a form; any other makes its browser ask first, and nobody answers.
"""

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from turnout.control.problems import problem_response

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
FORM_TYPES = frozenset({"", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})


class Guard:
    """Wraps the app; refuses what a browser could be tricked into."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = objection(scope["method"], Headers(scope=scope)) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await problem_response(*refusal)(scope, receive, send)


def objection(method: str, headers: Headers) -> tuple[HTTPStatus, str] | None:
    """Why a request is refused; None when it may pass."""
    if _host(f"//{headers.get('host', '')}") not in LOOPBACK_NAMES:
        return HTTPStatus.MISDIRECTED_REQUEST, "the Host header must be 127.0.0.1, localhost or [::1]"
    origin = headers.get("origin")
    if origin is not None and _host(origin) not in LOOPBACK_NAMES:
        return HTTPStatus.FORBIDDEN, "requests of web pages of other origins are refused"
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method not in ("GET", "HEAD", "OPTIONS") and content_type in FORM_TYPES:
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
