"""Targets, taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.blobs.base import BlobName
from turnout.gateway.routes import BadTarget, find_blob, origin_form, parse_query

SHA = "ab" * 32


def test_a_query_is_read_percent_encoded_or_not() -> None:
    assert parse_query(b"job_id=a%20b&task_id=x+y&empty=&alone") == {
        "job_id": "a b",
        "task_id": "x y",
        "empty": "",
        "alone": "",
    }
    assert parse_query(b"") == {}
    assert parse_query(b"&&a=1&") == {"a": "1"}
    assert parse_query("straße=süß&weiß+%C3%A4=1".encode()) == {"straße": "süß", "weiß ä": "1"}
    assert parse_query(b"=\xff&=%ff&a=1") == {"a": "1"}, "what has no name is left out unread"


def test_a_field_that_comes_twice_is_refused() -> None:
    with pytest.raises(BadTarget, match="twice: 'job_id'"):
        parse_query(b"job_id=a&job_id=b")


@pytest.mark.parametrize("query", [b"a=%ff", b"a=\xff", b"%ff=1"])
def test_a_query_that_is_not_utf_8_is_refused(query: bytes) -> None:
    with pytest.raises(BadTarget, match="UTF-8"):
        parse_query(query)


def test_the_fields_of_a_query_are_bounded_in_number() -> None:
    with pytest.raises(BadTarget, match="more than 32"):
        parse_query(b"&".join(b"f%d=1" % i for i in range(33)))


@given(st.binary(max_size=100))
def test_no_query_raises_anything_but_bad_target(query: bytes) -> None:
    try:
        parse_query(query)
    except BadTarget:
        pass


@pytest.mark.parametrize(
    ("target", "relative"),
    [
        (b"/task?job_id=j", b"/task?job_id=j"),
        (b"http://gateway:80/task?job_id=j", b"/task?job_id=j"),
        (b"HTTPS://gateway", b"/"),
        (b"http://gateway?job_id=j", b"/?job_id=j"),
        (b"/task#part", b"/task"),
        (b"*", b"/*"),
        (b"", b"/"),
    ],
)
def test_the_absolute_form_means_its_path(target: bytes, relative: bytes) -> None:
    assert origin_form(target) == relative
    assert origin_form(relative) == relative


@pytest.mark.parametrize("target", [b"//job", b"http://gateway//job", b"///job"])
def test_slashes_that_a_base_url_leaves_over_do_not_matter(target: bytes) -> None:
    assert origin_form(target) == b"/job"


def test_a_blob_is_named_by_job_and_sha256() -> None:
    assert find_blob(f"/blob/job-1/{SHA}".encode()) == BlobName("job-1", SHA)


@pytest.mark.parametrize(
    "path",
    [
        f"/blob/{SHA}",
        f"/blob/j/{SHA}/",
        f"/blob/j/{SHA.upper()}",
        f"/blob/j/{SHA[:-1]}",
        f"/blob/../{SHA}x",
        f"/blob/a/b/{SHA}",
        f"/blob//{SHA}",
        f"/blob/%2e%2e/{SHA}",
    ],
)
def test_what_is_no_blobs_name_is_none(path: str) -> None:
    assert find_blob(path.encode()) is None
