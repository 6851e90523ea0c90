"""Who may use the API: tokens with a scope, of which only SHA-256 digests are kept.

On the loopback none is needed until there is one; from then on, and anywhere else always. A digest without salt is
enough: a token is 256 random bits, which nobody can guess their way to.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from http import HTTPStatus

from turnout.control.problems import Problem
from turnout.control.store import Store, StoredToken
from turnout.control.view import NewToken, Scope, TokenView

PREFIX = "turnout_"
TOKEN_BYTES = 32
TOKENS_MAX = 200
SCOPES = tuple(Scope)  #: From the least to the most.
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="turnout"'}


class Tokens:
    """The tokens of one server. ``loopback``: only this machine can reach the API."""

    def __init__(self, store: Store, loopback: bool, wall_clock: Callable[[], float]) -> None:
        self._store = store
        self._loopback = loopback
        self._now = wall_clock
        self._known = store.tokens()

    @property
    def needed(self) -> bool:
        """Whether requests need a token."""
        return not self._loopback or bool(self._known)

    def check(self, authorization: str | None, scope: Scope) -> None:
        """Let a request pass that may do what needs this scope. Raises Problem."""
        if not self.needed:
            return
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            detail = "this server needs a token: send Authorization: Bearer turnout_..., or set TURNOUT_TOKEN"
            raise Problem(HTTPStatus.UNAUTHORIZED, detail, _CHALLENGE)
        found = self._find(token.strip())
        if found is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, "this token is unknown here, or was revoked", _CHALLENGE)
        if SCOPES.index(Scope(found.scope)) < SCOPES.index(scope):
            detail = f'this needs a token with the scope {scope}; "{found.name}" has {found.scope}'
            raise Problem(HTTPStatus.FORBIDDEN, detail)

    def _find(self, token: str) -> StoredToken | None:
        """Compares with every digest, each in the same time whatever it finds."""
        digest = _digest(token)
        matching = [known for known in self._known if hmac.compare_digest(known.sha256, digest)]
        return matching[0] if matching else None

    def create(self, wanted: NewToken) -> TokenView:
        """A new token, which is shown this once. Raises Problem."""
        if not self._known and wanted.scope is not Scope.ADMIN:
            detail = "the first token must have the scope admin: from then on nothing can be done without one"
            raise Problem(HTTPStatus.CONFLICT, detail)
        if len(self._known) >= TOKENS_MAX:
            raise Problem(HTTPStatus.CONFLICT, f"there are {TOKENS_MAX} tokens already; revoke one that nobody uses")
        token = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        stored = StoredToken(secrets.token_hex(4), wanted.name, wanted.scope, _digest(token), self._now())
        self._store.add_token(stored)
        self._known = self._store.tokens()
        return _view(stored, token)

    def all(self) -> list[TokenView]:
        """Every token, oldest first, without the token itself."""
        return [_view(token) for token in self._known]

    def revoke(self, token_id: str) -> None:
        """Make a token useless at once. Raises Problem when it is unknown, or when nobody could make another then."""
        found = next((token for token in self._known if token.token_id == token_id), None)
        if found is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"no token {token_id!r}; GET /api/tokens lists them")
        left = [token for token in self._known if token is not found]
        may_be_last = self._loopback and not left
        if not may_be_last and not any(token.scope == Scope.ADMIN for token in left):
            detail = "this is the last token with the scope admin: create another first, or nobody could any more"
            raise Problem(HTTPStatus.CONFLICT, detail)
        self._store.delete_token(token_id)
        self._known = self._store.tokens()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _view(token: StoredToken, shown: str = "") -> TokenView:
    return TokenView(token.token_id, token.name, Scope(token.scope), token.created_at, shown)
