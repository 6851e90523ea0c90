"""What a web page could make a browser on this machine send is refused."""

import pytest
from starlette.datastructures import Headers

from turnout.control.guard import objection

JSON = {"host": "127.0.0.1:8711", "content-type": "application/json"}


def refused(method: str, headers: dict[str, str]) -> int | None:
    found = objection(method, Headers(headers))
    return None if found is None else found[0].value


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8711", "http://127.0.0.1:8711"),
        ("LOCALHOST:8711", "http://localhost:8711"),
        ("[::1]:8711", "http://[::1]:8711"),
        ("turnout.example", "http://turnout.example"),
        ("turnout.example:80", "http://turnout.example"),
    ],
)
def test_a_page_of_this_server_may_pass(host: str, origin: str) -> None:
    assert refused("GET", {"host": host, "origin": origin}) is None
    assert refused("GET", {"host": host}) is None  # no page at all


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:3000",
        "http://127.0.0.1",
        "http://localhost:8711",
        "https://127.0.0.1:8711",
        "http://evil@127.0.0.1:8711",
        "http://127.0.0.1:8711/",
        "http://127.0.0.1:8711.evil.example",
        "https://evil.example",
        "http://",
        "null",
        "",
    ],
)
def test_a_page_of_another_scheme_host_or_port_is_refused(origin: str) -> None:
    assert refused("GET", {"host": "127.0.0.1:8711", "origin": origin}) == 403


@pytest.mark.parametrize("host", ["", "[::1", "a b", "evil@127.0.0.1:8711"])
def test_a_host_that_makes_no_sense_is_no_page_s_own(host: str) -> None:
    assert refused("GET", {"host": host, "origin": f"http://{host}"}) == 403


def test_behind_a_proxy_with_tls_the_page_has_its_scheme() -> None:
    page = {"host": "turnout.example", "origin": "https://turnout.example"}
    assert refused("GET", {**page, "x-forwarded-proto": "https"}) is None
    assert refused("GET", page) == 403
    assert refused("GET", {**page, "x-forwarded-proto": "https", "host": "turnout.example:8443"}) == 403


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "Multipart/Form-Data; boundary=x", "application/x-www-form-urlencoded"]
)
def test_a_post_that_a_form_could_send_is_refused(kind: str) -> None:
    assert refused("POST", {"host": "localhost", "content-type": kind}) == 415


def test_a_post_with_any_other_content_type_may_pass() -> None:
    assert refused("POST", JSON) is None


def test_a_delete_needs_no_content_type_because_no_browser_sends_one_of_another_origin_unasked() -> None:
    assert refused("DELETE", {"host": "localhost"}) is None
    assert refused("DELETE", {"host": "localhost", "origin": "https://evil.example"}) == 403
