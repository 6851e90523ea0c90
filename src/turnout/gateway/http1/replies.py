"""Outcomes in HTTP: status, headers and body, for whatever server sends them. Pure.

The one place that knows the statuses of refusals; what is wrong in HTTP alone is a ``Misuse`` with its own status.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, NamedTuple, TypeAlias

import msgspec

from turnout.gateway.calls import Answer, Kind, Model, Notice, Outcome, Refusal
from turnout.gateway.http1 import ranges
from turnout.messages import ResultResponse, Status, TaskResponse
from turnout.wire.edge_replies import ReplyWriter
from turnout.wire.forms import Form

JSON_TYPE = b"application/json"
OCTETS = b"application/octet-stream"
STATUS: Final[Mapping[Kind, int]] = {Kind.INVALID: 400, Kind.UNKNOWN: 404, Kind.TOO_LARGE: 413, Kind.BUSY: 503}
_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_REASONS[431] = b"Request Header Fields Too Large"
_NO_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

Header: TypeAlias = tuple[bytes, bytes]
Headers: TypeAlias = Mapping[bytes, bytes]
Buffers: TypeAlias = tuple[bytes | memoryview, ...]


class Misuse(Refusal, frozen=True):
    """What is wrong with a request in HTTP's own terms."""

    status: int = 400
    headers: tuple[Header, ...] = ()


class Permission(Notice, frozen=True):
    """A browser may send what it has asked about."""

    headers: tuple[Header, ...] = ()


def misuse(status: int, reason: str, text: str, headers: tuple[Header, ...] = ()) -> Misuse:
    """A refused request: ``text`` says what is wrong and how to fix it."""
    return Misuse(Kind.INVALID, reason, text, status=status, headers=headers)


@dataclass(slots=True)
class Manner:
    """How a request wants its reply, where that is not as most do.

    ``close``: it is the last of its connection. ``keep``: say that it is not. ``asked``: its headers, for a model.
    """

    close: bool = False
    keep: bool = False
    head_only: bool = False
    cors: tuple[Header, ...] = ()
    asked: Headers = field(default_factory=dict)


USUAL: Final = Manner()
NONE: Final[tuple[Header, ...]] = ()


class Reply(NamedTuple):
    """What goes back: ``media`` is the type of the body, of which 204 and 304 have none.

    ``label`` is what it is counted as; ``refused``, if any, the reason of a refusal that is not counted yet.
    """

    status: int
    headers: tuple[Header, ...]
    body: Buffers
    label: str
    media: bytes = JSON_TYPE
    refused: str = ""


class _Problem(msgspec.Struct, omit_defaults=True):
    status: Status
    message: str
    retry_wait: int | None = None


def render(outcome: Outcome, platform: str, writer: ReplyWriter, manner: Manner) -> Reply:
    """The reply to a device of this platform."""
    match outcome:
        case Answer(TaskResponse() as response, bytes() as model, Form() as form):
            return Reply(200, (), writer.encode_with_weights(response, platform, model, form), response.status)
        case Answer(response):
            return Reply(200, (), (writer.encode(response, platform),), response.status)
        case Refusal(instead=ResultResponse() as instead):
            return Reply(200, (), (writer.encode(instead, platform),), "200")
        case Refusal():
            return _refusal(outcome)
        case Model():
            return _model(outcome, manner)
        case Permission():
            return Reply(204, outcome.headers, (), "204")
        case Notice(body):
            return Reply(200, ((b"Cache-Control", b"no-store"),), (body,), "200")


def _refusal(refusal: Refusal) -> Reply:
    status, headers = STATUS[refusal.kind], NONE
    if isinstance(refusal, Misuse):
        status, headers = refusal.status, refusal.headers
    problem = _Problem(Status.INVALID_REQUEST, refusal.text)
    if refusal.wait_s is not None:  # in seconds, in the body too
        problem = _Problem(Status.RETRY, refusal.text, refusal.wait_s)
        headers = (*headers, (b"Retry-After", b"%d" % refusal.wait_s))
    return Reply(status, headers, (msgspec.json.encode(problem),), str(status))


def _model(model: Model, manner: Manner) -> Reply:
    """All of a model, or the part that the request's headers ask for."""
    size, etag = len(model.view), b'"%b"' % model.name.sha256.encode()
    always: tuple[Header, ...] = (
        (b"ETag", etag),
        (b"Accept-Ranges", b"bytes"),
        (b"Cache-Control", b"public, max-age=31536000, immutable"),
    )
    match ranges.select(manner.asked, etag, size, with_range=not manner.head_only):
        case ranges.NotModified():
            return Reply(304, always, (), "304")
        case ranges.NotSatisfiable():
            ends = ((b"Content-Range", b"bytes */%d" % size),)
            beyond = misuse(416, "range", f"Range lies beyond the end: the model has {size} bytes", ends)
            return _refusal(beyond)._replace(refused=beyond.reason)
        case ranges.Part(start, stop):
            part = (b"Content-Range", b"bytes %d-%d/%d" % (start, stop - 1, size))
            return Reply(206, (*always, part), (model.view[start:stop],), "206", OCTETS)
        case ranges.Whole():
            return Reply(200, always, (model.view,), "200", OCTETS)


def head_bytes(reply: Reply, date: bytes, connection: bytes) -> bytes:
    """Status line and headers in HTTP/1.1. ``connection`` is whole header lines with their line ends, or empty."""
    typed = b""
    if reply.status not in _NO_BODY:
        length = sum(map(len, reply.body))
        typed = b"Content-Type: %b\r\nContent-Length: %d\r\n" % (reply.media, length)
    status, extra = reply.status, header_lines(reply.headers)
    return b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b%b%b\r\n" % (status, _REASONS[status], date, typed, extra, connection)


def header_lines(headers: tuple[Header, ...]) -> bytes:
    """Headers, each with its line end."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)
