"""Conditional and partial GET of something immutable: RFC 9110's ETag, If-None-Match, If-Range and one Range."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_RANGE = re.compile(rb"bytes=(\d{0,19})-(\d{0,19})")

Headers = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Whole:
    """All of it: 200."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes ``start`` to ``stop``, the last one not included: 206."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class NotModified:
    """Who asks has it already: 304."""


@dataclass(frozen=True, slots=True)
class NotSatisfiable:
    """The range lies beyond the end: 416."""


Selected = Whole | Part | NotModified | NotSatisfiable


def select(headers: Headers, etag: bytes, size: int, with_range: bool = True) -> Selected:
    """What of ``size`` bytes to send for these request headers (names in lower case).

    A range that we do not understand, or of several parts, gets the whole: the standard allows it.
    """
    if _matches(headers.get(b"if-none-match"), etag):
        return NotModified()
    wanted = headers.get(b"range") if with_range else None
    if wanted is None or headers.get(b"if-range", etag) != etag:
        return Whole()
    match = _RANGE.fullmatch(wanted.replace(b" ", b""))
    if match is None or match.groups() == (b"", b""):
        return Whole()
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return Part(size - length, size) if length else NotSatisfiable()
    if last and int(last) < int(first):
        return Whole()
    if int(first) >= size:
        return NotSatisfiable()
    return Part(int(first), min(int(last) + 1, size) if last else size)


def _matches(wanted: bytes | None, etag: bytes) -> bool:
    if wanted is None:
        return False
    tags = [tag.strip().removeprefix(b"W/") for tag in wanted.split(b",")]
    return b"*" in tags or etag in tags
