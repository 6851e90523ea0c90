"""``turnout up`` and ``turnout doctor``: a server, and whether this machine is fit for one."""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from turnout.cli.base import (
    CONTROL_PORT,
    DATA,
    HERE,
    LOCAL,
    PORT,
    SERVERS,
    SIZES,
    Json,
    Remote,
    Sizes,
    answer,
    app,
    at_least_one,
    examples,
    print_json,
)
from turnout.errors import UsageError
from turnout.gateway.bounds import GRPC_MESSAGE_BYTES_MAX
from turnout.process import machine
from turnout.process.exits import EXIT_DONE, EXIT_FAILED
from turnout.process.streams import say
from turnout.process.systems import can_serve, check_server
from turnout.supervisor.policy import HANG_S, HANG_S_MIN

if TYPE_CHECKING:
    from turnout.supervisor.entrance import Tls
    from turnout.supervisor.process import Up

PORT_MAX = 65535
LOOPBACK = "127.0.0.1"

Port = Annotated[int, Parameter(help="Where devices connect; 0 takes a free port.")]
ControlPort = Annotated[int, Parameter(help="Where people's tools connect; 0 takes a free port.")]
TlsCert = Annotated[Path | None, Parameter(help="Certificate for devices, and its chain: a PEM file.")]
TlsKey = Annotated[Path | None, Parameter(help="The certificate's private key: a PEM file.")]
Data = Annotated[Path, Parameter(help="Where jobs and models are kept.")]


@app.command(
    group=SERVERS,
    help_epilogue=examples(
        "turnout up",
        "turnout up --port 0 --control-port 0 --json",
        "turnout up --host 0.0.0.0 --tls-cert fullchain.pem \\\n    --tls-key privkey.pem --grpc-port 8712",
    ),
)
def up(
    *,
    host: Annotated[
        str, Parameter(help="Address where devices connect; 0.0.0.0 for all of this machine's.")
    ] = LOOPBACK,
    port: Port = PORT,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    grpc_port: Annotated[
        int | None, Parameter(help="Where FLARE's gRPC clients connect, if any; 0: a free port.")
    ] = None,
    grpc_message_bytes_max: Annotated[
        int, Parameter(help="Largest message by gRPC, either way.")
    ] = GRPC_MESSAGE_BYTES_MAX,
    sizes: Sizes = SIZES,
    cors_origin: Annotated[
        tuple[str, ...], Parameter(negative="", help="Origin of a web page that may use the gateways; * for any.")
    ] = (),
    control_port: ControlPort = CONTROL_PORT,
    control_host: Annotated[
        str, Parameter(help="Where people's tools connect; elsewhere than here behind a proxy with TLS.")
    ] = LOOPBACK,
    gateways: Annotated[
        int | None, Parameter(help="Gateway processes; one per usable core but one unless given.")
    ] = None,
    data: Data = DATA,
    hang_s: Annotated[float, Parameter(help="A process silent for so long is killed and started again.")] = HANG_S,
    json: Json = False,
) -> int:
    """Run a server: gateways for devices, an API for people, and a process for each job."""
    check_server()
    from turnout.supervisor.entrance import EntranceSettings, Grpc
    from turnout.supervisor.process import Settings, run

    _check_ports({"--port": port, "--control-port": control_port, "--grpc-port": grpc_port})
    if gateways is None:
        gateways = max(1, machine.cores() - 1)
    if not hang_s >= HANG_S_MIN:
        raise UsageError(f"--hang-s {hang_s:g} is too short: processes beat once a second; give {HANG_S_MIN:g} or more")
    at_least_one("--grpc-message-bytes-max", grpc_message_bytes_max)
    grpc = None if grpc_port is None else Grpc(grpc_port, grpc_message_bytes_max)
    sizes.check()
    devices = EntranceSettings(
        host,
        port,
        _tls(tls_cert, tls_key),
        grpc,
        cors_origin,
        result_bytes_max=sizes.result_bytes_max,
        weights_model_bytes_max=sizes.weights_model_bytes_max,
    )
    settings = Settings(devices, control_port, data, at_least_one("--gateways", gateways), hang_s, control_host)
    run(settings, told=partial(_tell, data, json))
    return EXIT_DONE


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
    """Look whether this machine can run a server: ports, limits, disk, clock, versions; and say how to mend it."""
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
        raise UsageError("--tls-cert and --tls-key belong together; give both, or none")
    return None


def _check_ports(ports: dict[str, int | None]) -> None:
    """Raises UsageError."""
    taken: dict[int, str] = {}
    for option, value in ports.items():
        if value is not None and not 0 <= value <= PORT_MAX:
            raise UsageError(f"{option} {value} is not a port; choose one from 1 to {PORT_MAX}, or 0 for a free one")
        if value and taken.setdefault(value, option) != option:
            raise UsageError(f"{taken[value]} and {option} are both {value}; give each a port of its own, or 0")
