"""Which path means what: the request target, taken apart."""

import re
from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import unquote_plus

from turnout.blobs.base import BlobName
from turnout.errors import DeviceError

QUERY_FIELDS_MAX = 32


class Route(StrEnum):
    """What a device can ask for; also the label under which requests are counted."""

    JOB = "job"
    TASK = "task"
    SELECTION = "selection"
    RESULT = "result"
    BLOB = "blob"
    HEALTH = "healthz"


class BadTarget(DeviceError):
    """The path or the query of a request cannot be read."""

    reason = "bad_target"


POST = (b"POST",)
GET = (b"GET", b"HEAD")
HEALTH_PATH = b"/healthz"
EDGE_PATHS: Mapping[bytes, Route] = {
    b"/job": Route.JOB,
    b"/task": Route.TASK,
    b"/selection": Route.SELECTION,
    b"/result": Route.RESULT,
}
METHODS: Mapping[Route, tuple[bytes, ...]] = {
    Route.JOB: POST,
    Route.TASK: POST,
    Route.SELECTION: POST,
    Route.RESULT: POST,
    Route.HEALTH: GET,
    Route.BLOB: GET,
}
_BLOB = re.compile(rb"/blob/([A-Za-z0-9._-]{1,128})/([0-9a-f]{64})")
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


def find_blob(path: bytes) -> BlobName | None:
    """The model that this path names."""
    match = _BLOB.fullmatch(path)
    return None if match is None else BlobName(match[1].decode("ascii"), match[2].decode("ascii"))


def origin_form(target: bytes) -> bytes:
    """A target as devices send it, ``/path?query``, from the absolute form that proxies use, and without a fragment.

    One slash is enough: FLARE's iOS SDK asks for ``//job`` when its server's URL ends with one.
    """
    target = target.partition(b"#")[0]
    match = _ABSOLUTE.match(target)
    if match is not None:
        target = target[match.end() :]
    return b"/" + target.lstrip(b"/")


def parse_query(query: bytes) -> dict[str, str]:
    """The fields of a query. Raises BadTarget when one comes twice, or is not UTF-8."""
    if not query:
        return {}
    parts = query.decode("latin-1").split("&", QUERY_FIELDS_MAX)
    if len(parts) > QUERY_FIELDS_MAX:
        raise BadTarget(f"the query has more than {QUERY_FIELDS_MAX} fields; send fewer")
    fields: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if not name:
            continue
        if "%" in part or "+" in part or not part.isascii():  # ids and numbers are seldom encoded
            name, value = _text(name), _text(value)
        if name in fields:
            raise BadTarget(f"the query names a field twice: {ascii(name)[:80]}; send it once")
        fields[name] = value
    return fields


def _text(encoded: str) -> str:
    """The text of one name or value, of which each character is a byte."""
    try:
        return unquote_plus(encoded.encode("latin-1").decode("utf-8"), errors="strict")
    except UnicodeDecodeError:
        raise BadTarget("the query is not percent-encoded UTF-8; encode it as such") from None
