"""The command line: one function per command, each a few lines around what does the work.

Heavy modules are imported where they are used, so that ``turnout --help`` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from turnout import __version__
from turnout.errors import JobFolderError, TurnoutError, UsageError
from turnout.exits import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from turnout.supervisor.policy import HANG_S, HANG_S_MIN

PORT = 8710
CONTROL_PORT = 8711
SERVER = f"http://127.0.0.1:{CONTROL_PORT}"
DATA = Path("turnout-data")

app = App(
    name="turnout",
    help="Train one model on a fleet of devices that come and go. Begin with: turnout demo",
    help_epilogue="Exit codes: 0 done, 1 failed, 2 wrong arguments or job folder, 3 job not completed, 130 Ctrl-C.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
)

Server = Annotated[str, Parameter(help="The API of the server, as turnout up prints it.")]
JobId = Annotated[str, Parameter(help="As turnout submit and turnout jobs print it.")]
Folder = Annotated[Path, Parameter(help="A folder with job.toml and an initial model.")]
Devices = Annotated[int, Parameter(help="How many devices to simulate.")]
Seed = Annotated[int, Parameter(help="Chooses the devices' speeds, data and dropouts.")]


@app.command
def demo(
    *,
    mode: Annotated[Literal["buffered", "sync"], Parameter(help="Asynchronous training, or rounds.")] = "buffered",
    devices: Devices = 500,
    seed: Seed = 0,
) -> int:
    """Watch devices of very different speed learn to read digits, beside the same model trained centrally."""
    from turnout.demo import commands

    return commands.demo(mode, _at_least_one("--devices", devices), seed)


@app.command
def up(
    *,
    host: Annotated[str, Parameter(help="Where devices connect; this machine only, so far.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Where devices connect; 0 takes a free port.")] = PORT,
    control_port: Annotated[int, Parameter(help="Where people's tools connect; 0 takes a free port.")] = CONTROL_PORT,
    gateways: Annotated[int | None, Parameter(help="Gateway processes; one per core but one unless given.")] = None,
    data: Annotated[Path, Parameter(help="Where jobs and models are kept.")] = DATA,
    hang_s: Annotated[float, Parameter(help="A process silent for so long is killed and started again.")] = HANG_S,
) -> int:
    """Run a server: gateways for devices, an API for people, and a process for each job."""
    from turnout.supervisor.process import Settings, run

    for option, value in (("--port", port), ("--control-port", control_port)):
        if not 0 <= value <= 65535:
            raise UsageError(f"{option} {value} is no port; choose one from 1 to 65535, or 0 for a free one")
    if gateways is None:
        gateways = max(1, (os.cpu_count() or 1) - 1)
    if not hang_s >= HANG_S_MIN:
        raise UsageError(f"--hang-s {hang_s:g} is too short: processes beat once a second; give {HANG_S_MIN:g} or more")
    run(Settings(host, port, control_port, data, _at_least_one("--gateways", gateways), hang_s))
    return EXIT_DONE


@app.command(name="run")
def run_job(
    job_folder: Folder,
    *,
    devices: Devices = 100,
    seed: Seed = 0,
    training_s: Annotated[float, Parameter(help="Time the median device takes for a task.")] = 0.2,
    training_sigma: Annotated[float, Parameter(help="Spread of it; 1 makes 5 % five times slower.")] = 0.5,
    dropout: Annotated[float, Parameter(help="Probability that a device vanishes from a task.")] = 0.0,
    out: Annotated[Path | None, Parameter(help="Where to save the model; NAME.safetensors unless given.")] = None,
    data: Annotated[Path | None, Parameter(help="Where to keep the server's data; thrown away unless given.")] = None,
) -> int:
    """Run a job on this machine from start to end: a server on free ports and a simulated fleet."""
    from turnout.demo import commands

    fleet = {
        "devices": _at_least_one("--devices", devices),
        "seed": seed,
        "training-s": training_s,
        "training-sigma": training_sigma,
        "dropout": dropout,
    }
    return commands.run_job(job_folder, fleet, out, data)


@app.command
def submit(job_folder: Folder, *, server: Server = SERVER) -> int:
    """Hand a job folder to a running server."""
    from turnout.control.client import ControlClient

    client = ControlClient(server)
    job = client.submit(job_folder)
    at = "" if server == SERVER else f" --server {client.url}"
    print(f"job {job.job_id} runs; devices find it by its name, {job.name!r}")
    print(f"watch it:        turnout jobs{at}")
    print(f"get its model:   turnout model {job.job_id}{at}")
    print(f"end it:          turnout abort {job.job_id}{at}")
    return EXIT_DONE


@app.command
def jobs(*, server: Server = SERVER) -> int:
    """List the jobs of a running server."""
    from turnout.control.client import ControlClient
    from turnout.control.listing import listing

    client = ControlClient(server)
    for line in listing(client):
        print(line)
    return EXIT_DONE


@app.command
def abort(job_id: JobId, *, server: Server = SERVER) -> int:
    """End a job before its stop rule does; what it has learned so far is kept."""
    from turnout.control.client import ControlClient

    job = ControlClient(server).abort(job_id)
    print(f"job {job.job_id} is {job.state}")
    return EXIT_DONE


@app.command
def resume(job_id: JobId, *, server: Server = SERVER) -> int:
    """Let a job go on that has paused for want of devices."""
    from turnout.control.client import ControlClient

    ControlClient(server).resume(job_id)
    print(f"job {job_id} goes on")
    return EXIT_DONE


@app.command
def model(
    job_id: JobId,
    *,
    out: Annotated[Path | None, Parameter(help="Where to save it; JOB_ID.safetensors unless given.")] = None,
    server: Server = SERVER,
) -> int:
    """Save the newest model of a job."""
    from turnout.control.client import ControlClient

    target = out or Path(f"{job_id}.safetensors")
    version = ControlClient(server).model(job_id, target)
    print(f"version {version} saved to {target}")
    return EXIT_DONE


@app.command
def backup(
    job_id: JobId,
    file: Annotated[Path, Parameter(help="Where to save the copy.")],
    *,
    server: Server = SERVER,
) -> int:
    """Copy all that a job must not forget into one file, while it runs: model, buffer, counted results, leases."""
    from turnout.control.client import ControlClient

    version = ControlClient(server).backup(job_id, file)
    print(f"job {job_id} as of version {version} saved to {file}")
    return EXIT_DONE


@app.command
def restore(
    job_id: JobId,
    file: Annotated[Path, Parameter(help="What turnout backup has written.")],
    *,
    server: Server = SERVER,
) -> int:
    """Let a job that has ended go on from a backup; results counted after the backup was made are lost."""
    from turnout.control.client import ControlClient

    ControlClient(server).restore(job_id, file)
    print(f"job {job_id} goes on from {file}; tasks given out before are refused, devices ask for new ones")
    return EXIT_DONE


@app.command
def fleet(
    url: Annotated[str, Parameter(help="Where devices connect, as turnout up prints it.")],
    *,
    job: Annotated[str, Parameter(help="The name of the job.")],
    trainer: Annotated[str, Parameter(help="A job folder, its device.py, or a module: how devices train.")],
    devices: Devices = 100,
    seed: Seed = 0,
    training_s: Annotated[float, Parameter(help="Time the median device takes for a task.")] = 1.0,
    training_sigma: Annotated[float, Parameter(help="Spread of it; 1 makes 5 % five times slower.")] = 0.0,
    delay_s: Annotated[float, Parameter(help="Time the median device's network adds to a request.")] = 0.0,
    delay_sigma: Annotated[float, Parameter(help="Spread of it.")] = 0.0,
    availability: Annotated[float, Parameter(help="Share of the time in which a device has network.")] = 1.0,
    online_s: Annotated[float, Parameter(help="Mean time online, where availability is below 1.")] = 60.0,
    dropout: Annotated[float, Parameter(help="Probability that a device vanishes from a task.")] = 0.0,
    recovery_s: Annotated[float, Parameter(help="Mean time until it is back.")] = 10.0,
    start_s: Annotated[float | None, Parameter(help="Devices arrive spread over this time.")] = None,
    duplicates: Annotated[float, Parameter(help="Share of results that are sent twice at once.")] = 0.0,
    drops_before_answer: Annotated[float, Parameter(help="Share of connections broken with the answer unread.")] = 0.0,
    drops_after_answer: Annotated[float, Parameter(help="Share of connections broken after the answer.")] = 0.0,
    ledger: Annotated[Path | None, Parameter(help="Append results and answers to this file, as JSON.")] = None,
    each_once: Annotated[bool, Parameter(help="A device ends when one result of it was counted.")] = False,
    connections: Annotated[int, Parameter(help="At most so many; devices share them.")] = 512,
    workers: Annotated[int | None, Parameter(help="Training processes; one per core unless given.")] = None,
    patience_s: Annotated[float, Parameter(help="How long to look for a server and a job.")] = 60.0,
    json: Annotated[bool, Parameter(help="Counters as JSON, one line a second.")] = False,
    lifeline_fd: Annotated[int | None, Parameter(show=False)] = None,
) -> int:
    """Simulate many devices over real HTTP: each with an id, speed, network and data of its own."""
    from turnout.fleet import FleetOptions, FleetSpec, run_fleet

    _at_least_one("--connections", connections)
    spec = FleetSpec(
        devices,
        seed,
        training_s=training_s,
        training_sigma=training_sigma,
        delay_s=delay_s,
        delay_sigma=delay_sigma,
        availability=availability,
        online_s=online_s,
        dropout=dropout,
        recovery_s=recovery_s,
        start_s=start_s,
        duplicates=duplicates,
        drops_before_answer=drops_before_answer,
        drops_after_answer=drops_after_answer,
        ledger=ledger,
        each_once=each_once,
    )
    options = FleetOptions(
        connections_max=connections,
        workers=workers,
        patience_s=patience_s,
        json_lines=json,
        lifeline_fd=lifeline_fd,
    )
    run_fleet(url, job, spec, trainer, options)
    return EXIT_DONE


def _at_least_one(option: str, value: int) -> int:
    if value < 1:
        raise UsageError(f"{option} {value} is too few; give 1 or more")
    return value


def main() -> None:
    """The ``turnout`` command."""
    try:
        code = app(exit_on_error=False)
    except CycloptsError:  # already explained by cyclopts
        code = EXIT_USAGE
    except TurnoutError as error:
        print(f"turnout: {error}", file=sys.stderr)
        code = EXIT_USAGE if isinstance(error, JobFolderError | UsageError) else EXIT_FAILED
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with: turnout jobs | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_FAILED
    sys.exit(code)
