"""What commands print with ``--json`` beyond the types of the API, and how a value becomes JSON with every field."""

from typing import Any

import msgspec

from turnout.messages import Message


class Saved(Message, frozen=True):
    """A file that was downloaded."""

    job_id: str
    version: int  #: Of the model in it.
    file: str
    bytes: int
    metrics: dict[str, float] = {}  #: What the model in it measured.


class LogLine(Message, frozen=True):
    """A line that a job's process printed."""

    line: str


class Deleted(Message, frozen=True):
    """A job of which nothing is kept."""

    job_id: str


class Revoked(Message, frozen=True):
    """A token that is useless now."""

    token_id: str


class Written(Message, frozen=True):
    """A job folder that ``turnout new`` has written."""

    folder: str
    files: tuple[str, ...]


class Completion(Message, frozen=True):
    """A script for a shell."""

    shell: str
    script: str


class Up(Message, frozen=True):
    """A server that has started. ``grpc_address`` is empty without gRPC; ``token_file`` holds its owner's token."""

    devices_url: str
    api_url: str
    pid: int
    data: str
    grpc_address: str = ""
    token_file: str = ""


class Link(Message, frozen=True):
    """A link to the dashboard that works once."""

    link: str


class RunEnded(Message, frozen=True):
    """How ``turnout run`` or ``turnout demo`` ended; ``model`` is empty when none was saved.

    ``version`` is the newest; ``metrics`` are the newest, of ``metrics_version``, which may be an earlier one.
    ``model_version`` and ``model_metrics`` are of the model.
    """

    job_id: str
    state: str
    reason: str
    version: int
    metrics: dict[str, float]
    took_s: float
    model: str
    sat_out: int = 0  #: Devices that have no examples.
    model_version: int | None = None
    model_metrics: dict[str, float] = {}
    seed: int = 0
    metrics_version: int = 0
    reproducible: bool = False  #: Never in wall time: the order in which updates arrive differs.


def whole(value: object) -> Any:
    """A value as plain dicts and lists, with the fields that hold their default, which messages leave out."""
    match value:
        case msgspec.Struct():
            return {
                field.encode_name: whole(getattr(value, field.name)) for field in msgspec.structs.fields(type(value))
            }
        case dict():
            return {key: whole(inner) for key, inner in value.items()}
        case list() | tuple():
            return [whole(inner) for inner in value]
        case str():  # a file name that cannot be decoded here has parts that JSON cannot hold
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        case _:
            return value
