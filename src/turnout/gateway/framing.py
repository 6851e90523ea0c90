"""Where a request ends: what HTTP/1.1 forbids though the parser lets it through. Pure."""

from turnout.gateway.replies import Reply, refusal

#: Headers that decide something: two different ones of a name are an attempt to be read in two ways.
SINGLE_HEADERS = frozenset(
    (
        b"host",
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


def find_length(headers: dict[bytes, bytes], version: str, upgrade: bool) -> tuple[int | None, Reply | None]:
    """The length of the body, None for chunks; or why its end cannot be told with certainty."""
    if version == "1.1" and b"host" not in headers:
        return 0, refusal(400, "host", "the Host header is missing; HTTP/1.1 demands it")
    if upgrade:
        return 0, refusal(400, "upgrade", "no other protocol is spoken here; leave the Upgrade header out")
    expect = headers.get(b"expect")
    if expect is not None and expect.strip().lower() != b"100-continue":
        return 0, refusal(417, "expect", "Expect may be 100-continue only")
    coding = headers.get(b"transfer-encoding")
    if coding is None:
        return int(headers.get(b"content-length", b"0")), None
    if coding.strip().lower() != b"chunked" or version == "1.0":
        return 0, refusal(400, "transfer_encoding", "Transfer-Encoding may be chunked only, and in HTTP/1.1 only")
    return None, None


def malformed(text: str) -> Reply:
    """What the parser could not read, from its own words."""
    if "HTTP version" in text or "PRI/" in text:
        return wrong_version()
    return refusal(400, "malformed", f"this is not an HTTP/1.1 request: {text}")


def wrong_version() -> Reply:
    """Neither HTTP/1.1 nor HTTP/1.0."""
    return refusal(505, "http_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
