"""Keeps web pages away from the API, which a browser with a session of the dashboard could else be made to use.

A page of another origin may send a POST unasked only with the content types of a form; any other, and any DELETE,
makes its browser ask first, and nobody answers. Where a browser names the page's origin, it must be this server's:
scheme, host and port, for pages of other ports of this machine are strangers, too. A page whose name was pointed at
this server (DNS rebinding) is of the origin that it names, but has neither a token nor the cookie of a session.
"""

import re
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from turnout.control.problems import problem_response

FORM_TYPES = frozenset({"", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
_PORTS = {"http": "80", "https": "443"}
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>\[[0-9a-fA-F:.]+\]|[^\s/?#@:\[\]]+)(:(?P<port>\d{1,5}))?")


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
    origin = headers.get("origin")
    if origin is not None and (parts(origin) is None or parts(origin) != parts(own_origin(headers))):
        return HTTPStatus.FORBIDDEN, "requests of web pages of other origins are refused"
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method == "POST" and content_type in FORM_TYPES:
        return (
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "give a Content-Type: application/zip for a job folder, else application/json",
        )
    return None


def own_origin(headers: Headers) -> str:
    """The origin that a page of ours has for its browser.

    Where a proxy speaks TLS it says so in a header, which no page of another origin can set.
    """
    return f"{scheme_of(headers)}://{headers.get('host', '')}"


def scheme_of(headers: Headers) -> str:
    """How the browser speaks to us, or to the first proxy in front."""
    return headers.get("x-forwarded-proto", "http").partition(",")[0].strip().lower()


def parts(origin: str) -> tuple[str, str, str] | None:
    """Scheme, host and port of an origin; None when it is not written as browsers do."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return None
    return found["scheme"], found["host"].lower(), found["port"] or _PORTS[found["scheme"]]
