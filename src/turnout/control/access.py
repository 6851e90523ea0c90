"""Who asks, and whether they may: by a token, or by a session of the dashboard that stands for one."""

import math
from collections.abc import Callable
from http import HTTPStatus

from starlette.requests import Request

from turnout.control.failures import Failures, peer_of
from turnout.control.listening import admit
from turnout.control.problems import Problem
from turnout.control.sessions import LINK_S, PAGE_HEADER, SESSION_S, Claim, Sealer, Session
from turnout.control.store import Store, StoredToken
from turnout.control.tokens import Tokens, includes
from turnout.control.view import NewLink, NewSession, Scope
from turnout.supervisor.runtime import is_loopback

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

    def link(self, request: Request) -> NewLink:
        """A link that begins a session with what this request may do. Raises Problem."""
        now = self._now()
        return NewLink(self._sealer.link(self._holder(request).token_id, now), now + LINK_S)

    def begin(self, request: Request, code: str) -> tuple[NewSession, str]:
        """A session for who has opened a link, or has a token; and the value of its cookie. Raises Problem."""
        token_id = self._of_link(request, code).token_id if code else self._holder(request).token_id
        now = self._now()
        session = self._sealer.session(token_id, now)
        secure = "; Secure" if request.headers.get("x-forwarded-proto") == "https" else ""
        about = f"Max-Age={SESSION_S:.0f}; Path=/; HttpOnly; SameSite=Strict{secure}"
        return NewSession(session.page, now + SESSION_S), f"{self._sealer.cookie_name}={session.cookie}; {about}"

    def _holder(self, request: Request) -> StoredToken:
        """The token that a request comes with, or stands for. Raises Problem."""
        authorization = request.headers.get("authorization")
        cookie = request.cookies.get(self._sealer.cookie_name)
        if authorization is not None:
            kind, _, text = authorization.partition(" ")
            if kind.lower() != "bearer" or not text.strip():
                raise Problem(HTTPStatus.UNAUTHORIZED, NEEDED, CHALLENGE)
            return self._judged(request, UNKNOWN, lambda: self._tokens.of_text(text.strip()))
        if cookie is None or PAGE_HEADER not in request.headers:
            raise Problem(HTTPStatus.UNAUTHORIZED, NEEDED, CHALLENGE)
        session = Session(cookie, request.headers[PAGE_HEADER])
        return self._judged(request, OVER, lambda: self._of_claim(self._sealer.open_session(session, self._now())))

    def _of_claim(self, claim: Claim | None) -> StoredToken | None:
        return None if claim is None else self._tokens.of_id(claim.token_id)

    def _of_link(self, request: Request, code: str) -> StoredToken:
        """The token of a link, which is used up by this. Raises Problem."""
        now = self._now()
        claim = self._sealer.open_link(code, now)
        token = self._judged(request, USED, lambda: self._of_claim(claim))
        assert claim is not None
        if not self._store.open_link(code, claim.expires_at, now):
            raise Problem(HTTPStatus.UNAUTHORIZED, USED, CHALLENGE)
        return token

    def _judged(self, request: Request, wrong: str, find: Callable[[], StoredToken | None]) -> StoredToken:
        """What ``find`` gives. A peer that sent many wrong ones has to wait; on this machine, where the peer may be
        a proxy or another account, only for the next wrong one. Raises Problem.
        """
        peer = peer_of(request.client.host if request.client is not None else "")
        wait_s = self._failures.wait_s(peer, self._clock())
        found = None if wait_s and not is_loopback(peer) else find()
        if found is not None:
            return found
        if wait_s:
            detail = "too many wrong tokens came from there; wait a moment"
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(math.ceil(wait_s))})
        self._failures.failed(peer, self._clock())
        raise Problem(HTTPStatus.UNAUTHORIZED, wrong, CHALLENGE)
