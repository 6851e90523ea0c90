"""RFC 9110's conditional and partial GET."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.gateway.http1.ranges import NotModified, NotSatisfiable, Part, Selected, Whole, select

TAG = b'"abc"'


@pytest.mark.parametrize(
    ("wanted", "selected"),
    [
        (b"bytes=0-3", Part(0, 4)),
        (b"bytes=5-", Part(5, 10)),
        (b"bytes=-3", Part(7, 10)),
        (b"bytes=-30", Part(0, 10)),
        (b"bytes=8-99", Part(8, 10)),
        (b"bytes=9-9", Part(9, 10)),
        (b"bytes=10-", NotSatisfiable()),
        (b"bytes=-0", NotSatisfiable()),
        (b"bytes=3-2", Whole()),
        (b"bytes=0-1,3-4", Whole()),
        (b"bytes=-", Whole()),
        (b"bytes=a-b", Whole()),
        (b"lines=0-3", Whole()),
        (b"bytes=" + b"9" * 50 + b"-", Whole()),
    ],
)
def test_a_range_of_ten_bytes(wanted: bytes, selected: Selected) -> None:
    assert select({b"range": wanted}, TAG, 10) == selected


@pytest.mark.parametrize("tags", [b'"abc"', b'"x", "abc"', b'W/"abc"', b"*"])
def test_who_has_it_already_gets_nothing(tags: bytes) -> None:
    assert select({b"if-none-match": tags, b"range": b"bytes=0-1"}, TAG, 10) == NotModified()


def test_who_has_another_gets_it() -> None:
    assert select({b"if-none-match": b'"x"'}, TAG, 10) == Whole()


def test_a_range_of_another_version_gets_the_whole() -> None:
    assert select({b"if-range": b'"x"', b"range": b"bytes=0-1"}, TAG, 10) == Whole()
    assert select({b"if-range": TAG, b"range": b"bytes=0-1"}, TAG, 10) == Part(0, 2)


@given(st.binary(max_size=30), st.integers(0, 100))
def test_any_range_selects_something_that_is_there(text: bytes, size: int) -> None:
    match select({b"range": b"bytes=" + text}, TAG, size):
        case Part(start, stop):
            assert 0 <= start < stop <= size
