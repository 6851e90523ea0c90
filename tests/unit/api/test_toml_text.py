"""Settings as TOML: what is read back is what was given."""

import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.api.toml_text import toml_text
from turnout.errors import JobFolderError

plain = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@given(st.dictionaries(st.text(), values, max_size=4))
def test_what_is_written_is_read_back(settings: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(settings)) == settings


def test_tables_follow_values_and_none_is_left_out() -> None:
    settings = {"training": {"workflow": "buffered", "staleness": {"a": 1}, "goal": None}, "name": "digits", "x": None}
    assert toml_text(settings) == (
        'name = "digits"\n\n[training]\nworkflow = "buffered"\n\n[training.staleness]\na = 1\n'
    )


def test_numbers_of_numpy_are_numbers() -> None:
    assert toml_text({"rate": np.float64(0.5), "count": np.int32(3), "on": np.bool_(True), "all": (1, 2)}) == (
        "rate = 0.5\ncount = 3\non = true\nall = [1, 2]\n"
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": {"data": np.zeros(2)}}, "device.data is a ndarray; expected is text, a number"),
        ({"device": {1: 2}}, "the key 1 is not text"),
    ],
)
def test_what_toml_cannot_say_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(JobFolderError, match=words):
        toml_text(settings)
