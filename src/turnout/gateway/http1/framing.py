"""Where a request ends: what HTTP/1.1 forbids though the parser lets it through. Pure."""

import re

from turnout.gateway.http1.replies import Misuse, misuse

#: Headers that decide something: two different ones of a name are an attempt to be read in two ways.
SINGLE_HEADERS = frozenset(
    (
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
        b"expect",
        b"range",
        b"x-flare-device-id",
        b"x-flare-device-info",
        b"x-flare-user-info",
    )
)
HOST = b"host"  #: Twice is once too often, whatever it says (RFC 9112, section 3.2).
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]+)(:[0-9]*)?")


def repeated(name: bytes, equal: bool) -> Misuse | None:
    """What to say when a header comes twice, if anything; ``equal``: with the same value."""
    if name == HOST:
        return misuse(400, "host", "the Host header comes twice; send it once")
    if equal or name not in SINGLE_HEADERS:
        return None
    return misuse(400, "repeated_header", f"{name.decode()} comes twice with different values; send it once")


def wrong_host(host: bytes | None, version: str) -> Misuse | None:
    """What is wrong with a Host header, if anything. Only HTTP/1.0 does without it."""
    if host is None:
        return misuse(400, "host", "the Host header is missing; HTTP/1.1 demands it") if version == "1.1" else None
    if _HOST.fullmatch(host) is None:
        return misuse(400, "host", "the Host header must be a name or an address, with a port or without")
    return None


def find_length(headers: dict[bytes, bytes], version: str, method: bytes) -> tuple[int | None, Misuse | None]:
    """The length of the body, None for chunks; or why its end cannot be told with certainty."""
    if method == b"CONNECT":
        return 0, misuse(400, "connect", "CONNECT asks for a proxy, and this is a server")
    expect = headers.get(b"expect")
    if expect is not None and expect.strip().lower() != b"100-continue":
        return 0, misuse(417, "expect", "Expect may be 100-continue only")
    coding = headers.get(b"transfer-encoding")
    if coding is None:
        return int(headers.get(b"content-length", b"0")), None
    if coding.strip().lower() != b"chunked" or version == "1.0":
        return 0, misuse(400, "transfer_encoding", "Transfer-Encoding may be chunked only, and in HTTP/1.1 only")
    return None, None


def malformed(text: str) -> Misuse:
    """What the parser could not read, from its own words."""
    if "HTTP version" in text or "PRI/" in text:
        return wrong_version()
    return misuse(400, "malformed", f"this is not an HTTP/1.1 request: {text}")


def wrong_version() -> Misuse:
    """Neither HTTP/1.1 nor HTTP/1.0."""
    return misuse(505, "http_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
