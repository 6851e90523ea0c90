"""What refusing a text costs in memory."""

import tracemalloc
from collections.abc import Callable

import pytest

from turnout.errors import DeviceError


def refused_within(call: Callable[[], object], bytes_max: int) -> DeviceError:
    """The error that ``call`` raises, having taken at most so much memory beside what was held before."""
    tracemalloc.start()
    try:
        with pytest.raises(DeviceError) as refused:
            call()
        assert tracemalloc.get_traced_memory()[1] <= bytes_max
    finally:
        tracemalloc.stop()
    return refused.value
