"""What a web page could make a browser on this machine send is refused."""

import pytest
from starlette.datastructures import Headers

from turnout.control.guard import objection

JSON = {"host": "127.0.0.1:8711", "content-type": "application/json"}


def refused(method: str, headers: dict[str, str]) -> int | None:
    found = objection(method, Headers(headers))
    return None if found is None else found[0].value


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8711", "localhost:1", "LOCALHOST", "[::1]:8711"])
def test_this_machine_by_any_of_its_names_may_pass(host: str) -> None:
    assert refused("GET", {"host": host}) is None


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[::1", "10.0.0.1"]
)
def test_a_name_that_was_pointed_at_this_machine_is_refused(host: str) -> None:
    assert refused("GET", {"host": host}) == 421


def test_a_request_of_another_origin_is_refused() -> None:
    assert refused("GET", {"host": "localhost", "origin": "https://evil.example"}) == 403
    assert refused("POST", {**JSON, "origin": "null"}) == 403
    assert refused("POST", {**JSON, "origin": "http://127.0.0.1:8711"}) is None


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
