"""Who asks, and whether they may: by a token, or by a session of the dashboard that stands for one."""

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import NoReturn

from starlette.requests import Request

from turnout.client.view import NewLink, NewSession, Scope
from turnout.control.failures import Failures, peer_of
from turnout.control.guard import scheme_of
from turnout.control.listening import admit
from turnout.control.problems import Problem
from turnout.control.sessions import LINK_S, PAGE_HEADER, SESSION_S, Claim, Sealer, Session
from turnout.control.store import Store, StoredToken
from turnout.control.tokens import Tokens, includes

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="turnout"'}
NEEDED = (
    "this server needs a token: send Authorization: Bearer turnout_..., or set TURNOUT_TOKEN; commands of the account "
    "that runs the server find it by themselves, and the dashboard opens by the link of: turnout open"
)
UNKNOWN = "this token is unknown here, or was revoked"
OVER = "this session is over; make a new link with: turnout open"
USED = "this link has been opened before, or has expired; make a new one with: turnout open"


class Access:
    """Asks each request for what its operation needs."""

    def __init__(
        self,
        store: Store,
        tokens: Tokens,
        sealer: Sealer,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """``clock`` is monotonic: peers that send wrong tokens wait by it."""
        self._store = store
        self._tokens = tokens
        self._sealer = sealer
        self._now = wall_clock
        self._clock = clock
        self._failures = Failures()

    def check(self, request: Request, scope: Scope) -> None:
        """Let a request pass that may do what needs this scope. Raises Problem."""
        token = self._holder(request)
        if not includes(token.scope, scope):
            detail = f'this needs a token with the scope {scope}; "{token.name}" has {token.scope}'
            raise Problem(HTTPStatus.FORBIDDEN, detail)
        admit(request)

    def still(self, request: Request, scope: Scope) -> bool:
        """Whether a request that was let pass would be now: its token may be revoked, its session over."""
        token = self._found(request)
        return token is not None and includes(token.scope, scope)

    def link(self, request: Request) -> NewLink:
        """A link that begins a session with what this request may do, for no longer than it may. Raises Problem."""
        now = self._now()
        token, session = self._holder(request), self._session(request)
        until = math.inf if session is None else session.until
        return NewLink(self._sealer.link(token.token_id, now, until), min(now + LINK_S, until))

    def begin(self, request: Request, code: str) -> tuple[NewSession, str]:
        """A session for who has opened a link, or has a token; and the value of its cookie. Raises Problem.

        A session begins no other one: it would never end.
        """
        now = self._now()
        if code:
            claim = self._of_link(request, code)
            token_id, until = claim.token_id, min(claim.until, now + SESSION_S)
        elif "authorization" in request.headers:
            token_id, until = self._holder(request).token_id, now + SESSION_S
        else:
            raise Problem(HTTPStatus.UNAUTHORIZED, NEEDED, CHALLENGE)
        session = self._sealer.session(token_id, until)
        return NewSession(session.page, until), self._cookie(request, session.cookie, until - now)

    def end(self, request: Request) -> str:
        """End the session that a request comes with; the value of a cookie that takes its place. Raises Problem."""
        session = self._session(request)
        if session is None:
            self._refuse(request, OVER)
        self._store.end_session(request.cookies[self._sealer.cookie_name], session.until, self._now())
        return self._cookie(request, "", 0.0)

    def _cookie(self, request: Request, value: str, age_s: float) -> str:
        secure = "; Secure" if scheme_of(request.headers) == "https" else ""
        return f"{self._sealer.cookie_name}={value}; Max-Age={age_s:.0f}; Path=/; HttpOnly; SameSite=Strict{secure}"

    def _holder(self, request: Request) -> StoredToken:
        """The token that a request comes with, or stands for. Raises Problem."""
        found = self._found(request)
        if found is not None:
            return found
        if _bearer(request):
            self._refuse(request, UNKNOWN)
        if "authorization" in request.headers or self._halves(request) is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, NEEDED, CHALLENGE)
        return self._refuse(request, OVER)

    def _found(self, request: Request) -> StoredToken | None:
        if "authorization" in request.headers:
            text = _bearer(request)
            return self._tokens.of_text(text) if text else None
        claim = self._session(request)
        return None if claim is None else self._tokens.of_id(claim.token_id)

    def _session(self, request: Request) -> Claim | None:
        """The session that a request comes with instead of a token, if it is one and still valid."""
        session = self._halves(request)
        if session is None or "authorization" in request.headers:
            return None
        claim = self._sealer.open_session(session, self._now())
        return None if claim is None or self._store.is_ended(session.cookie) else claim

    def _halves(self, request: Request) -> Session | None:
        cookie, page = request.cookies.get(self._sealer.cookie_name), request.headers.get(PAGE_HEADER)
        return None if cookie is None or page is None else Session(cookie, page)

    def _of_link(self, request: Request, code: str) -> Claim:
        """What a link stands for, which is used up by this. Raises Problem."""
        now = self._now()
        claim = self._sealer.open_link(code, now)
        if claim is None or self._tokens.of_id(claim.token_id) is None:
            self._refuse(request, USED)
        if not self._store.open_link(code, claim.expires_at, now):
            raise Problem(HTTPStatus.UNAUTHORIZED, USED, CHALLENGE)
        return claim

    def _refuse(self, request: Request, wrong: str) -> NoReturn:
        """Refuse a token, link or session that is not one of ours. A peer that sent many has to wait until the next is
        told so; the right ones of a peer pass at once, for it may be a proxy, or a machine of many accounts.
        """
        peer = peer_of(request.client.host if request.client is not None else "")
        wait_s = self._failures.wait_s(peer, self._clock())
        if wait_s:
            detail = "too many wrong tokens came from there; wait a moment"
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(math.ceil(wait_s))})
        self._failures.failed(peer, self._clock())
        raise Problem(HTTPStatus.UNAUTHORIZED, wrong, CHALLENGE)


def _bearer(request: Request) -> str:
    """The text of the token that a request comes with; empty without one."""
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if kind.lower() == "bearer" else ""
