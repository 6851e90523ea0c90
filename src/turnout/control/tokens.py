"""The tokens of a server, each with a scope; of all but the owner's only SHA-256 digests are kept.

A digest without salt is enough: a token is 256 random bits, which nobody can guess their way to.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from http import HTTPStatus

from turnout.client.view import NewToken, Scope, TokenView
from turnout.control.problems import Problem
from turnout.control.store import Store, StoredToken
from turnout.storage import owner

TOKENS_MAX = 200
OWNER_ID = "owner"
SCOPES = tuple(Scope)  #: From the least to the most.


def includes(scope: str, wanted: Scope) -> bool:
    """Whether a scope is at least the other."""
    return SCOPES.index(Scope(scope)) >= SCOPES.index(wanted)


class Tokens:
    """The tokens of one server. The owner's lies in the data folder, and is changed there."""

    def __init__(self, store: Store, owner_token: str, wall_clock: Callable[[], float]) -> None:
        self._store = store
        self._now = wall_clock
        self._owner = StoredToken(OWNER_ID, "the owner of the data folder", Scope.ADMIN, _digest(owner_token), 0.0)
        self._known = store.tokens()

    def of_text(self, token: str) -> StoredToken | None:
        """The token of this text. Compares with every digest, each in the same time whatever it finds."""
        digest = _digest(token)
        matching = [known for known in (self._owner, *self._known) if hmac.compare_digest(known.sha256, digest)]
        return matching[0] if matching else None

    def of_id(self, token_id: str) -> StoredToken | None:
        """The token with this id, unless it was revoked."""
        return next((token for token in (self._owner, *self._known) if token.token_id == token_id), None)

    def create(self, wanted: NewToken) -> TokenView:
        """A new token, which is shown this once. Raises Problem."""
        if len(self._known) >= TOKENS_MAX:
            raise Problem(HTTPStatus.CONFLICT, f"there are {TOKENS_MAX} tokens already; revoke one that nobody uses")
        token = owner.new_token()
        stored = StoredToken(secrets.token_hex(4), wanted.name, wanted.scope, _digest(token), self._now())
        self._store.add_token(stored)
        self._known = self._store.tokens()
        return _view(stored, token)

    def all(self) -> list[TokenView]:
        """Every token but the owner's, oldest first, without the token itself."""
        return [_view(token) for token in self._known]

    def revoke(self, token_id: str) -> None:
        """Make a token useless at once, with the sessions that it began. Raises Problem."""
        if token_id == OWNER_ID:
            detail = f"the owner's token is changed in the data folder: remove {owner.FILE}, and start the server again"
            raise Problem(HTTPStatus.CONFLICT, detail)
        if self.of_id(token_id) is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"no token {token_id!r}; GET /api/tokens lists them")
        self._store.delete_token(token_id)
        self._known = self._store.tokens()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _view(token: StoredToken, shown: str = "") -> TokenView:
    return TokenView(token.token_id, token.name, Scope(token.scope), token.created_at, shown)
