"""Our two protobuf messages against the protobuf library's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.edge_messages import Later, Reply, Request
from turnout.wire.edge_grpc import ENVELOPE_FIELDS_MAX, BadEnvelope, Query, decode_query, encode_reply


@given(
    st.text(max_size=16, alphabet=st.characters(codec="utf-8")),
    st.text(max_size=9),
    st.binary(max_size=3),
    st.binary(max_size=300),
)
def test_what_the_library_writes_is_read(type_: str, method: str, header: bytes, payload: bytes) -> None:
    message = Request(type=type_, method=method, header=header, payload=payload)
    assert decode_query(message.SerializeToString()) == Query(type_, payload)


@given(st.sampled_from(["OK", "INVALID_REQUEST"]), st.lists(st.binary(max_size=200), max_size=3))
def test_what_we_write_is_read_by_the_library(status: str, parts: list[bytes]) -> None:
    reply = Reply.FromString(encode_reply(status, parts))
    assert (reply.status, reply.payload) == (status, b"".join(parts))


def test_a_request_is_these_bytes() -> None:
    assert decode_query(b"\x0a\x03Job\x12\x04POST\x1a\x010\x22\x02{}") == Query("Job", b"{}")


def test_a_payload_of_16_mb_is_read() -> None:
    payload = bytes(16 * 1024 * 1024)
    assert decode_query(Request(type="Job", payload=payload).SerializeToString()).payload == payload


def test_a_request_without_fields_has_them_empty() -> None:
    assert decode_query(b"") == Query("", b"")


def test_fields_that_a_later_version_adds_are_skipped() -> None:
    later = Later(number=-1, real=0.5, small=0.25).SerializeToString()
    assert decode_query(later + Request(type="Job", payload=b"{}").SerializeToString() + later) == Query("Job", b"{}")


def test_of_a_field_that_comes_twice_the_last_counts() -> None:
    twice = Request(type="a", payload=b"1").SerializeToString() + Request(type="b", payload=b"2").SerializeToString()
    assert decode_query(twice) == Query("b", b"2")


def test_a_known_field_of_another_wire_type_is_skipped() -> None:
    assert decode_query(b"\x08\x05\x22\x02{}") == Query("", b"{}")


def test_a_request_of_very_many_tiny_fields_is_refused_before_they_cost_time() -> None:
    assert decode_query(b"\x28\x00" * (ENVELOPE_FIELDS_MAX - 1)) == Query("", b"")
    with pytest.raises(BadEnvelope, match="more than 64 fields"):
        decode_query(b"\x28\x00" * 1_000_000)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x0a\x05Job", "cut short"),
        (b"\x0a", "cut short"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "no end"),
        (b"\x22\xff\xff\xff\xff\x0f{}", "cut short"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x0a\x02\xff\xfe", "not UTF-8"),
        (b"\x0a\x7f" + b"a" * 127, "type has 127 bytes"),
        (b"\x09abc", "cut short"),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(BadEnvelope, match=what):
        decode_query(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    try:
        query = decode_query(data)
    except BadEnvelope:
        return
    assert len(query.payload) <= len(data)
