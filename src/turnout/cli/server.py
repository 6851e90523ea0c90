"""``turnout up`` and ``turnout doctor``: a server, and whether this machine is fit for one."""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import Parameter

from turnout.cli.base import (
    CONTROL_PORT,
    DATA,
    HERE,
    LOCAL,
    PORT,
    SERVERS,
    Json,
    Remote,
    answer,
    app,
    examples,
    print_json,
)
from turnout.errors import UsageError
from turnout.gateway.bounds import GRPC_MESSAGE_BYTES_MAX, RESULT_BYTES_MAX, WEIGHTS_MODEL_BYTES_MAX
from turnout.process import machine
from turnout.process.exits import EXIT_DONE, EXIT_FAILED
from turnout.process.streams import say
from turnout.process.systems import can_serve, check_server
from turnout.supervisor.policy import HANG_S

if TYPE_CHECKING:
    import msgspec

    from turnout.cli.server_toml import ServerFile
    from turnout.gateway.settings import Limits
    from turnout.supervisor.entrance import Tls
    from turnout.supervisor.process import Settings, Up

PORT_MAX = 65535
LOOPBACK = "127.0.0.1"

Port = Annotated[int, Parameter(help="Where devices connect; 0 takes a free port.")]
ControlPort = Annotated[int, Parameter(help="Where people's tools connect; 0 takes a free port.")]
TlsCert = Annotated[Path | None, Parameter(help="Certificate for devices, and its chain: a PEM file.")]
TlsKey = Annotated[Path | None, Parameter(help="The certificate's private key: a PEM file.")]
Data = Annotated[Path, Parameter(help="Where jobs and models are kept.")]
S = TypeVar("S", bound="msgspec.Struct")


def _unless(default: object, about: str) -> Parameter:
    """An option that a file may give as well: only one that was given goes before the file."""
    return Parameter(show_default=str(default), help=about)


@app.command(
    group=SERVERS,
    help_epilogue=examples(
        "turnout up",
        "turnout up --config server.toml",
        "turnout up --host 0.0.0.0 --tls-cert fullchain.pem \\\n    --tls-key privkey.pem --grpc-port 8712",
    ),
)
def up(
    *,
    config: Annotated[
        Path | None, Parameter(help="A file with settings: TOML, see docs/OPERATIONS.md. Options take precedence.")
    ] = None,
    host: Annotated[
        str | None, _unless(LOOPBACK, "Address where devices connect; 0.0.0.0 for all of this machine's.")
    ] = None,
    port: Annotated[int | None, _unless(PORT, "Where devices connect; 0 takes a free port.")] = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    grpc_port: Annotated[
        int | None, Parameter(help="Where FLARE's gRPC clients connect, if any; 0: a free port.")
    ] = None,
    grpc_message_bytes_max: Annotated[
        int | None, _unless(GRPC_MESSAGE_BYTES_MAX, "Largest message by gRPC, either way, in bytes.")
    ] = None,
    result_bytes_max: Annotated[
        int | None, _unless(RESULT_BYTES_MAX, "Largest result that a device may send, in bytes.")
    ] = None,
    weights_model_bytes_max: Annotated[
        int | None,
        _unless(
            WEIGHTS_MODEL_BYTES_MAX,
            "Largest model that is sent as JSON, in bytes; each gateway keeps five times as much.",
        ),
    ] = None,
    cors_origin: Annotated[
        tuple[str, ...], Parameter(negative="", help="Origin of a web page that may use the gateways; * for any.")
    ] = (),
    control_port: Annotated[int | None, _unless(CONTROL_PORT, "Port of the API; 0 takes a free port.")] = None,
    control_host: Annotated[
        str | None, _unless(LOOPBACK, "Address of the API. One that is not loopback needs a proxy with TLS in front.")
    ] = None,
    gateways: Annotated[
        int | None, Parameter(help="Gateway processes; one per usable core but one unless given.")
    ] = None,
    data: Annotated[Path | None, _unless(DATA, "Where jobs and models are kept.")] = None,
    hang_s: Annotated[
        float | None, _unless(HANG_S, "Restart a process that sends no heartbeat for this many seconds.")
    ] = None,
    json: Json = False,
) -> int:
    """Run a server: gateways for devices, an API for people, and a process for each job."""
    check_server()
    from turnout.cli import server_toml
    from turnout.supervisor.process import run

    file = server_toml.read(config)
    tls = {"tls_cert": tls_cert, "tls_key": tls_key}
    devices = _given(file.devices, host=host, port=port, grpc_port=grpc_port, cors_origins=cors_origin or None, **tls)
    api = _given(file.api, host=control_host, port=control_port)
    sizes = {"result_bytes_max": result_bytes_max, "weights_model_bytes_max": weights_model_bytes_max}
    limits = _given(file.limits, grpc_message_bytes_max=grpc_message_bytes_max, hang_s=hang_s, **sizes)
    given = _given(file, devices=devices, api=api, limits=limits, gateways=gateways, data=data)
    kept = Path(given.data or DATA)
    run(_settings(given, kept), told=partial(_tell, kept, json))
    return EXIT_DONE


def _given(section: S, **options: object) -> S:
    """What the file says, with what was given as an option in its place."""
    import msgspec

    return msgspec.structs.replace(section, **{name: value for name, value in options.items() if value is not None})


def _settings(file: "ServerFile", data: Path) -> "Settings":
    """For the supervisor. Raises UsageError for what no server can have."""
    from turnout.cli.server_toml import GATEWAYS_MAX
    from turnout.supervisor.entrance import EntranceSettings
    from turnout.supervisor.process import Settings

    devices, api = file.devices, file.api
    _check_ports({"--port": devices.port, "--control-port": api.port, "--grpc-port": devices.grpc_port})
    if file.gateways is not None and file.gateways < 1:
        raise UsageError(f"--gateways {file.gateways} is too few; give 1 or more")
    if file.gateways is not None and file.gateways > GATEWAYS_MAX:
        raise UsageError(f"--gateways {file.gateways} is too many; give {GATEWAYS_MAX} or fewer")
    _check_limits(file.limits)
    cert, key = devices.tls_cert, devices.tls_key
    tls = _tls(Path(cert) if cert else None, Path(key) if key else None)
    entrance = EntranceSettings(
        devices.host, devices.port, tls, devices.grpc_port, devices.cors_origins, limits=file.limits
    )
    return Settings(entrance, api.port, data, file.gateways or max(1, machine.cores() - 1), api.host)


def _check_limits(limits: "Limits") -> None:
    """Options are checked as the file is. Raises UsageError."""
    import msgspec

    try:
        msgspec.convert(msgspec.to_builtins(limits), type(limits))
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        option = where.rstrip("`").replace("_", "-")
        raise UsageError(f"--{option} is not valid: {what[0].lower()}{what[1:]}") from None


@app.command(group=HERE, help_epilogue=examples("turnout doctor", "turnout doctor --data /var/lib/turnout --json"))
def doctor(
    *,
    port: Port = PORT,
    control_port: ControlPort = CONTROL_PORT,
    data: Data = DATA,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    json: Json = False,
) -> int:
    """Check whether this machine can run a server (ports, limits, disk, clock, versions), and say how to fix it."""
    from turnout.cli import installed
    from turnout.cli.findings import line

    _check_ports({"--port": port, "--control-port": control_port})
    findings = list(installed.findings())
    if can_serve():
        from turnout.cli import doctor as checks

        tls = _tls(tls_cert, tls_key)
        findings += checks.examine(port, control_port, data, None if tls is None else (tls.cert, tls.key))
    answer(findings, [line(finding) for finding in findings], json)
    return EXIT_DONE if all(finding.ok for finding in findings) else EXIT_FAILED


@app.command(name="open", group=SERVERS, help_epilogue=examples("turnout open"))
def open_dashboard(*, remote: Remote = LOCAL, json: Json = False) -> int:
    """Print a link to the dashboard. It works once, for ten minutes; the browser then has what your token may do."""
    from turnout.cli.outputs import Link

    link = remote.client().link()
    answer(Link(link), [link], json)
    return EXIT_DONE


def _tell(data: Path, as_json: bool, up: "Up") -> None:
    """Programs get the addresses; a person at a terminal gets a link, which must not lie in a log."""
    from turnout.cli.outputs import Up as Told
    from turnout.client.client import dashboard_link
    from turnout.control.sessions import LINK_S, Sealer
    from turnout.control.tokens import OWNER_ID
    from turnout.storage import owner

    if as_json:
        file = str(data.absolute() / owner.FILE)
        print_json(Told(up.devices_url, up.api_url, os.getpid(), str(data.absolute()), up.grpc_address, file))
    if sys.stderr.isatty():
        link = dashboard_link(up.api_url, Sealer(up.token).link(OWNER_ID, time.time()))
        once = f"works once, for {LINK_S / 60:.0f} minutes; turnout open makes another"
        say(f"dashboard: {link} ({once})")


def _tls(cert: Path | None, key: Path | None) -> "Tls | None":
    from turnout.supervisor.entrance import Tls

    if cert is not None and key is not None:
        return Tls(cert, key)
    if cert is not None or key is not None:
        raise UsageError("--tls-cert and --tls-key belong together; give both or neither")
    return None


def _check_ports(ports: dict[str, int | None]) -> None:
    """Raises UsageError."""
    taken: dict[int, str] = {}
    for option, value in ports.items():
        if value is not None and not 0 <= value <= PORT_MAX:
            raise UsageError(f"{option} {value} is not valid: use 1 to {PORT_MAX}, or 0 for a free one")
        if value and taken.setdefault(value, option) != option:
            raise UsageError(f"{taken[value]} and {option} are both {value}; give each a port of its own, or 0")
