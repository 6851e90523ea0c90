"""Sessions of the dashboard, and the links that begin them. Pure: what is sealed needs no memory.

Control may be killed at any time, and a person at the dashboard should not notice. So a session is a text that only
this server can have made: which token it stands for, until when, and a seal over both, with a key that is made of the
owner's token. A session has two halves. One is a cookie, which no script can read; but cookies do not know ports, so a
browser shows it to whatever else listens on this machine. The other half is kept by the page and sent as a header, as
no page of another origin can. Either alone opens nothing.
"""

import base64
import hashlib
import hmac
import math
import secrets
from dataclasses import dataclass

LINK_S = 600.0  #: A link to the dashboard expires this long after it was made.
SESSION_S = 12 * 3600.0  #: Then the dashboard asks for a new link.
PAGE_HEADER = "x-turnout-session"  #: The header with the page's half of a session.
TEXT_CHARS_MAX = 200
_NONCE_BYTES = 16
_PARTS = 4


@dataclass(frozen=True, slots=True)
class Claim:
    """What an opened link or session says: the token that it stands for, until when it works itself, and until when the
    session may last. Seconds since 1970.
    """

    token_id: str
    expires_at: float
    until: float


@dataclass(frozen=True, slots=True)
class Session:
    """A new session: its two halves."""

    cookie: str
    page: str


class Sealer:
    """Makes and opens links and sessions of one server."""

    def __init__(self, owner_token: str) -> None:
        """Another owner's token ends all sessions."""
        self._key = hmac.digest(owner_token.encode(), b"sessions of the dashboard", "sha256")

    @property
    def cookie_name(self) -> str:
        """Another for each server: cookies of all servers of a machine lie in one box."""
        return f"turnout-{hashlib.sha256(self._key).hexdigest()[:8]}"

    def link(self, token_id: str, now: float, until: float = math.inf) -> str:
        """The code of a new link. The session that it begins ends at ``until``, if not before."""
        return self._closed("link", token_id, min(now + LINK_S, until), min(now + LINK_S + SESSION_S, until))

    def open_link(self, code: str, now: float) -> Claim | None:
        """What the code stands for, if it is of a link of this server that has not expired."""
        return self._opened("link", code, now)

    def session(self, token_id: str, until: float) -> Session:
        """A new session."""
        cookie = self._closed("session", token_id, until, until)
        return Session(cookie, self._seal("page", cookie))

    def open_session(self, session: Session, now: float) -> Claim | None:
        """What the two halves stand for, if they belong together and have not expired."""
        if not hmac.compare_digest(self._seal("page", session.cookie).encode(), session.page.encode()):
            return None
        return self._opened("session", session.cookie, now)

    def _closed(self, kind: str, token_id: str, expires_at: float, until: float) -> str:
        said = f"{token_id}.{expires_at:.0f}.{until:.0f}.{secrets.token_urlsafe(_NONCE_BYTES)}"
        return f"{said}.{self._seal(kind, said)}"

    def _opened(self, kind: str, text: str, now: float) -> Claim | None:
        said, _, seal = text[: TEXT_CHARS_MAX + 1].rpartition(".")
        if len(text) > TEXT_CHARS_MAX or not hmac.compare_digest(self._seal(kind, said).encode(), seal.encode()):
            return None
        parts = said.split(".")  # we have made it, or an earlier release
        if len(parts) != _PARTS:
            return None
        token_id, expires_at, until, _ = parts
        return Claim(token_id, float(expires_at), float(until)) if now < float(expires_at) else None

    def _seal(self, kind: str, said: str) -> str:
        seal = hmac.digest(self._key, f"{kind}.{said}".encode(), "sha256")
        return base64.urlsafe_b64encode(seal).decode().rstrip("=")
