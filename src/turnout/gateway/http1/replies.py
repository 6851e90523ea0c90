"""The answers of the gateway itself: a status, headers and a JSON body, and their bytes in HTTP/1.1."""

from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from turnout.messages import RefusedResult, Status

JSON_TYPE = b"application/json"
_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_REASONS[431] = b"Request Header Fields Too Large"

OURS_FROM = 500  #: Statuses from here on say that nothing is wrong with the request but its moment.

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that needs no job. ``close``: the connection is of no more use after it.

    ``reason`` is the label under which a refusal is counted, and ``message`` what it says; empty for an answer that
    refuses nothing. ``refused`` is for the job whose result this refuses.
    """

    status: int
    body: bytes
    headers: tuple[Header, ...] = ()
    close: bool = False
    reason: str = ""
    message: str = ""
    refused: RefusedResult | None = None


class _Problem(msgspec.Struct, omit_defaults=True):
    status: Status
    message: str
    details: str = ""
    retry_wait: int | None = None


def refusal(
    status: int,
    reason: str,
    message: str,
    *,
    details: str = "",
    headers: tuple[Header, ...] = (),
    close: bool = False,
) -> Reply:
    """A refused request: ``message`` says what is wrong and how to mend it."""
    return Reply(
        status, msgspec.json.encode(_Problem(Status.INVALID_REQUEST, message, details)), headers, close, reason, message
    )


def unavailable(reason: str, message: str, retry_after_s: int, *, close: bool = False) -> Reply:
    """503: nothing is wrong with the request but its moment. The wait is in seconds, in the body too."""
    body = msgspec.json.encode(_Problem(Status.RETRY, message, retry_wait=retry_after_s))
    return Reply(503, body, ((b"Retry-After", b"%d" % retry_after_s),), close, reason, message)


def head_bytes(
    status: int,
    headers: tuple[Header, ...],
    length: int,
    *,
    date: bytes,
    connection: bytes,
    content_type: bytes = JSON_TYPE,
) -> bytes:
    """Status line and headers. ``connection`` is whole header lines with their line ends, or empty."""
    extra = header_lines(headers)
    typed = (
        b""
        if status in (HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT)
        else b"Content-Type: %b\r\nContent-Length: %d\r\n"
        % (
            content_type,
            length,
        )
    )
    return b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b%b%b\r\n" % (status, _REASONS[status], date, typed, extra, connection)


def header_lines(headers: tuple[Header, ...]) -> bytes:
    """Headers, each with its line end."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)
