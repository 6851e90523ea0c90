"""Which pages may use the gateway."""

import pytest

from turnout.errors import UsageError
from turnout.gateway.cors import ANY, Origins

ASKS = {b"access-control-request-method": b"POST"}


def test_unless_told_otherwise_no_page_may() -> None:
    assert Origins().allow({b"origin": b"https://a.example"}) == ()
    assert Origins().preflight({b"origin": b"https://a.example", **ASKS}, (b"POST",)) is None


def test_a_page_may_by_its_scheme_host_and_port_alone() -> None:
    origins = Origins(["https://A.example", "http://localhost:8000"])
    allowed = [b"https://a.example", b"HTTPS://a.example", b"http://localhost:8000"]
    refused = [b"http://a.example", b"https://a.example:444", b"http://localhost", b"https://b.a.example", b"", b"null"]
    assert all(origins.allow({b"origin": origin}) for origin in allowed)
    assert not any(origins.allow({b"origin": origin}) for origin in refused)


def test_where_any_page_may_the_reply_is_the_same_for_all() -> None:
    first, second = (Origins([ANY]).allow({b"origin": origin}) for origin in (b"https://a.example", b"null"))
    assert first == second
    assert first[0] == (b"Access-Control-Allow-Origin", b"*")


@pytest.mark.parametrize(
    "text", ["example.org", "https://", "https://example.org/", "https://example.org/app", "https://*.example.org", ""]
)
def test_what_is_no_origin_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=r'"\S*" is not an origin: write it as https://example\.org'):
        Origins([text])
