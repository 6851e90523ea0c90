"""The metrics beside a result: what can be read of them, and what is left out and why.

They are a side value: one that is not a number is left out, and never costs the update that it came with.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from turnout.text.printable import LABEL_CHARS_MAX, label
from turnout.wire.edge_requests import MALFORMED

METRICS_MAX: Final = 64  #: Of one result.
METRICS_BYTES_MAX: Final = 8 * 1024  #: As JSON.
NAME_WORDS: Final = (
    f"1 to {LABEL_CHARS_MAX} ASCII letters, digits, spaces and . _ + : / @ ( ) -"  #: Names become labels.
)

#: An object of metrics within a body, and what Python writes into it that no JSON has.
_OBJECT = re.compile(rb'"metrics"\s*:\s*\{[^{}\[\]]*\}')
_NO_JSON = re.compile(rb"(?<=[:\s])-?(?:NaN|Infinity)(?=[\s,}])")
_METRICS = msgspec.json.Decoder(dict[str, float] | None)
_ANYTHING = msgspec.json.Decoder(dict[str, Any] | None)


class Metrics(msgspec.Struct, frozen=True, array_like=True):
    """What could be read; ``left_out`` says of the first that could not be which it is and why, in a line."""

    values: dict[str, float] = {}
    left_out: str = ""


NONE: Final = Metrics()


def with_nulls(body: bytes | memoryview) -> bytes | None:
    """A body whose metrics hold null in place of NaN and infinities; None when there are none in them."""
    text = bytes(body)
    fixed = _OBJECT.sub(lambda found: _nulls(found[0]), text)
    return fixed if fixed != text else None


def read_metrics(text: bytes | msgspec.Raw) -> Metrics:
    """The metrics in this JSON."""
    num_bytes = memoryview(text).nbytes
    if num_bytes > METRICS_BYTES_MAX:
        return Metrics({}, f"all: they have {num_bytes} bytes of JSON, and {METRICS_BYTES_MAX} are allowed")
    try:
        found: Mapping[str, Any] | None = _METRICS.decode(text)
    except MALFORMED:
        try:
            found = _ANYTHING.decode(_nulls(bytes(text)))
        except MALFORMED:
            return Metrics({}, 'all: they are not a JSON object of numbers, as in {"loss": 0.5}')
    return checked(found) if found else NONE


def checked(found: Mapping[str, Any]) -> Metrics:
    """Those of a name and a value that they may have."""
    values: dict[str, float] = {}
    left_out = ""
    for name, value in found.items():
        wrong = _wrong(name, value, len(values))
        if wrong:
            left_out = left_out or wrong
        else:
            values[name] = float(value)
    return Metrics(values, left_out)


def _wrong(name: str, value: Any, so_far: int) -> str:
    """Why this one is left out; empty when it is not."""
    if not name or label(name) != name:
        return f"{ascii(name)[:80]}: a name has {NAME_WORDS}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        return f"{name}: it is not a finite number"
    return f"{name}: more than {METRICS_MAX} were sent" if so_far >= METRICS_MAX else ""


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _nulls(text: bytes) -> bytes:
    return _NO_JSON.sub(b"null", text)
