"""Which web pages may use the gateway: cross-origin resource sharing, as the Fetch standard has it. Pure.

FLARE's headers are none that a page may send unasked, so a browser asks first, with OPTIONS; and what comes back is for
the page to read only if the reply says so.
"""

from collections.abc import Collection, Mapping

from turnout.errors import UsageError
from turnout.gateway.http1.replies import Header, Permission
from turnout.text.given import check_word
from turnout.wire.edge_headers import DEVICE_ID, DEVICE_INFO, USER_INFO

ANY = "*"
ASK_AGAIN_S = 86_400  #: So long a browser may remember what it was told; most do for less.
_SENT = f"Content-Type, {DEVICE_ID}, {DEVICE_INFO}, {USER_INFO}, Range, If-Range, If-None-Match".encode()
_READ = b"ETag, Content-Range, Accept-Ranges, Retry-After, Date"


class Origins:
    """The pages that may: by scheme, host and port, or all of them."""

    def __init__(self, origins: Collection[str] = ()) -> None:
        """Raises UsageError for what is not an origin."""
        for origin in origins:
            check_word("the origin", origin)
            scheme, _, host = origin.partition("://")
            named = (
                scheme in ("http", "https") and host.isascii() and host.isprintable() and not set("/?#*") & set(host)
            )
            if origin != ANY and not (host and named):
                raise UsageError(f'"{origin}" is not an origin: write it as https://example.org, with any port')
        self._any = ANY in origins
        self._origins = frozenset(origin.lower().encode("ascii") for origin in origins)

    def allow(self, headers: Mapping[bytes, bytes]) -> tuple[Header, ...]:
        """What a reply must say for the page that asks; nothing when none does, or it may not."""
        origin = headers.get(b"origin")
        if origin is None or not (self._any or origin.lower() in self._origins):
            return ()
        expose = (b"Access-Control-Expose-Headers", _READ)
        if self._any:
            return (b"Access-Control-Allow-Origin", b"*"), expose
        return (b"Access-Control-Allow-Origin", origin), (b"Vary", b"Origin"), expose

    def preflight(self, headers: Mapping[bytes, bytes], methods: tuple[bytes, ...]) -> Permission | None:
        """The answer to a browser that asks whether it may ask; None when that is not what it does, or it may not."""
        if b"access-control-request-method" not in headers or not self.allow(headers):
            return None
        permitted = (
            (b"Access-Control-Allow-Methods", b", ".join(methods)),
            (b"Access-Control-Allow-Headers", _SENT),
            (b"Access-Control-Max-Age", b"%d" % ASK_AGAIN_S),
        )
        return Permission(b"", permitted)


NO_ORIGINS = Origins()
