"""``turnout up`` and ``turnout doctor``: a server, and whether this machine is fit for one."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from turnout.cli.base import (
    CONTROL_PORT,
    DATA,
    HERE,
    PORT,
    SERVERS,
    Json,
    answer,
    app,
    at_least_one,
    examples,
    print_json,
)
from turnout.errors import UsageError
from turnout.exits import EXIT_DONE, EXIT_FAILED
from turnout.supervisor.policy import HANG_S, HANG_S_MIN

PORT_MAX = 65535

Port = Annotated[int, Parameter(help="Where devices connect; 0 takes a free port.")]
ControlPort = Annotated[int, Parameter(help="Where people's tools connect; 0 takes a free port.")]
Data = Annotated[Path, Parameter(help="Where jobs and models are kept.")]


@app.command(
    group=SERVERS,
    help_epilogue=examples(
        "turnout up",
        "turnout up --data /var/lib/turnout --gateways 4",
        "turnout up --port 0 --control-port 0 --json",
    ),
)
def up(
    *,
    host: Annotated[str, Parameter(help="Where devices connect; this machine only, so far.")] = "127.0.0.1",
    port: Port = PORT,
    control_port: ControlPort = CONTROL_PORT,
    control_host: Annotated[
        str, Parameter(help="Where people's tools connect; elsewhere than here once there is a token.")
    ] = "127.0.0.1",
    gateways: Annotated[int | None, Parameter(help="Gateway processes; one per core but one unless given.")] = None,
    data: Data = DATA,
    hang_s: Annotated[float, Parameter(help="A process silent for so long is killed and started again.")] = HANG_S,
    json: Json = False,
) -> int:
    """Run a server: gateways for devices, an API for people, and a process for each job."""
    from turnout.supervisor.process import Settings, run

    _check_ports(port, control_port)
    if gateways is None:
        gateways = max(1, (os.cpu_count() or 1) - 1)
    if not hang_s >= HANG_S_MIN:
        raise UsageError(f"--hang-s {hang_s:g} is too short: processes beat once a second; give {HANG_S_MIN:g} or more")
    settings = Settings(host, port, control_port, data, at_least_one("--gateways", gateways), hang_s, control_host)
    run(settings, told=partial(_tell_urls, data) if json else None)
    return EXIT_DONE


@app.command(group=HERE, help_epilogue=examples("turnout doctor", "turnout doctor --data /var/lib/turnout --json"))
def doctor(
    *, port: Port = PORT, control_port: ControlPort = CONTROL_PORT, data: Data = DATA, json: Json = False
) -> int:
    """Look whether this machine can run a server: ports, limits, disk, clock, versions; and say how to mend it."""
    from turnout.cli import doctor as checks

    _check_ports(port, control_port)
    findings = checks.examine(port, control_port, data)
    answer(findings, [checks.line(finding) for finding in findings], json)
    return EXIT_DONE if all(finding.ok for finding in findings) else EXIT_FAILED


def _tell_urls(data: Path, devices_url: str, api_url: str) -> None:
    from turnout.cli.outputs import Up

    print_json(Up(devices_url, api_url, os.getpid(), str(data.absolute())))


def _check_ports(port: int, control_port: int) -> None:
    for option, value in (("--port", port), ("--control-port", control_port)):
        if not 0 <= value <= PORT_MAX:
            raise UsageError(f"{option} {value} is no port; choose one from 1 to {PORT_MAX}, or 0 for a free one")
