"""The settings of a server: what the file of ``turnout up --config`` may say. Its paths are relative to its folder."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from turnout.errors import JobFolderError, UsageError
from turnout.gateway.settings import Limits
from turnout.job.folder.toml import decode_toml

HEAD = 'All settings of a server, for: turnout up --config server.toml. A line like "#key = value" is a default.'
SAMPLE = {"data": "/var/lib/turnout"}  #: What the sample sets.
GATEWAYS_MAX = 1024
Port = Annotated[int, Meta(ge=0, le=65535)]
Place = Annotated[str, Meta(min_length=1, extra_json_schema={"description": "a path"})]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a key that it does not know is an error."""


class Devices(Section, frozen=True):
    """Where devices connect."""

    #: The address; "0.0.0.0" is all of this machine's.
    host: str = "127.0.0.1"
    #: The port; 0 takes a free one.
    port: Port = 8710
    #: The certificate and its chain: a PEM file.
    tls_cert: Place | None = None
    #: The certificate's private key: a PEM file.
    tls_key: Place | None = None
    #: The port of FLARE's gRPC service; 0 takes a free one. Unset: there is none.
    grpc_port: Port | None = None
    #: Origins of web pages that may use the gateways; "*" is any.
    cors_origins: tuple[str, ...] = ()


class Api(Section, frozen=True):
    """Where people and their tools connect."""

    #: The address. One that is not loopback needs a proxy with TLS in front.
    host: str = "127.0.0.1"
    #: The port; 0 takes a free one.
    port: Port = 8711


class ServerFile(Section, frozen=True):
    """All of ``server.toml``."""

    #: The folder where jobs and models are kept. Unset: turnout-data in the current folder.
    data: Place | None = None
    #: Gateway processes. Unset: one per usable core but one.
    gateways: Annotated[int, Meta(ge=1, le=GATEWAYS_MAX)] | None = None
    #: [devices]
    devices: Devices = Devices()
    #: [api]
    api: Api = Api()
    #: [limits]
    limits: Limits = Limits()


def read(path: Path | None) -> ServerFile:
    """The settings in a file, or all defaults. Raises UsageError."""
    if path is None:
        return ServerFile()
    try:
        found = decode_toml(path.read_text("utf-8"), ServerFile, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except JobFolderError as error:
        raise UsageError(str(error)) from None
    try:
        devices = msgspec.structs.replace(
            found.devices, tls_cert=_beside(path, found.devices.tls_cert), tls_key=_beside(path, found.devices.tls_key)
        )
        return msgspec.structs.replace(found, devices=devices, data=_beside(path, found.data))
    except RuntimeError:
        raise UsageError(f'{path}: a path begins with "~", and there is no such account; write it out') from None


def _beside(path: Path, named: str | None) -> str | None:
    return None if named is None else str(path.parent / Path(named).expanduser())
