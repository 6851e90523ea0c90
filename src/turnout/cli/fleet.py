"""The command ``fleet``: many devices against a server that runs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from turnout.cli.base import SERVERS, Devices, Seed, app, at_least_one, examples
from turnout.errors import UsageError
from turnout.process.exits import EXIT_DONE


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Traits:
    """What the fleet is like; the fields are those of ``FleetSpec``."""

    devices: Devices = 100
    seed: Seed = 0
    training_s: Annotated[float, Parameter(help="Time the median device takes for a task.")] = 1.0
    training_sigma: Annotated[float, Parameter(help="Spread of it; 1 makes 5 % five times slower.")] = 0.0
    delay_s: Annotated[float, Parameter(help="Time the median device's network adds to a request.")] = 0.0
    delay_sigma: Annotated[float, Parameter(help="Spread of it.")] = 0.0
    availability: Annotated[float, Parameter(help="Share of the time in which a device has network.")] = 1.0
    online_s: Annotated[float, Parameter(help="Mean time online, where availability is below 1.")] = 60.0
    dropout: Annotated[float, Parameter(help="Probability that a device vanishes from a task.")] = 0.0
    recovery_s: Annotated[float, Parameter(help="Mean time until it is back.")] = 10.0
    start_s: Annotated[float | None, Parameter(help="Devices arrive spread over this time.")] = None
    duplicates: Annotated[float, Parameter(help="Share of results that are sent twice at once.")] = 0.0
    drops_before_answer: Annotated[float, Parameter(help="Share of connections broken with the answer unread.")] = 0.0
    drops_after_answer: Annotated[float, Parameter(help="Share of connections broken after the answer.")] = 0.0
    ledger: Annotated[Path | None, Parameter(help="Append results and answers to this file, as JSON.")] = None
    each_once: Annotated[bool, Parameter(help="A device ends when one result of it was counted.")] = False
    at_once: Annotated[
        int | None,
        Parameter(help="With --each-once: how many take part at a time; the next starts when one has ended."),
    ] = None


@app.command(
    group=SERVERS,
    help_epilogue=examples(
        "turnout fleet http://127.0.0.1:8710 --job digits --trainer my-job",
        "turnout fleet http://127.0.0.1:8710 --job digits --trainer my-job \\\n"
        "    --dropout 0.2 --training-sigma 1 --json",
        "turnout fleet http://127.0.0.1:8710 --job digits --untrained \\\n"
        "    --devices 1000000 --each-once --at-once 1000",
    ),
)
def fleet(
    url: Annotated[str, Parameter(help="Where devices connect, as turnout up prints it.")],
    *,
    job: Annotated[str, Parameter(help="The name of the job.")],
    trainer: Annotated[
        str | None, Parameter(help="A job folder, its device.py, or a module: how devices train.")
    ] = None,
    untrained: Annotated[bool, Parameter(negative="", help="They do not: they send zeros, to try a server.")] = False,
    traits: Traits = Traits(),
    connections: Annotated[int, Parameter(help="Connections at most; devices share them.")] = 512,
    own_connections: Annotated[bool, Parameter(negative="", help="Instead each device has one of its own.")] = False,
    workers: Annotated[int | None, Parameter(help="Training processes; one per core unless given.")] = None,
    patience_s: Annotated[float, Parameter(help="How long to look for a server and a job.")] = 60.0,
    ca: Annotated[Path | None, Parameter(help="Authorities to trust for https, a PEM file; else the system's.")] = None,
    json: Annotated[bool, Parameter(negative="", help="Counters as JSON, one line a second.")] = False,
    lifeline_fd: Annotated[int | None, Parameter(show=False)] = None,
) -> int:
    """Simulate many devices over real HTTP: each with an id, speed, network and data of its own."""
    from turnout.fleet.process import FleetOptions, run_fleet
    from turnout.fleet.spec import FleetSpec

    at_least_one("--connections", connections)
    if (trainer is None) != untrained:
        raise UsageError("say how the devices train with --trainer, or with --untrained that they do not")
    options = FleetOptions(
        connections_max=connections,
        own_connections=own_connections,
        workers=workers,
        patience_s=patience_s,
        json_lines=json,
        ca=ca,
        lifeline_fd=lifeline_fd,
    )
    run_fleet(url, job, FleetSpec(**asdict(traits)), trainer, options)
    return EXIT_DONE
