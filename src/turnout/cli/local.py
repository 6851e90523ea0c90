"""Commands that need no server that runs: ``demo``, ``run``, ``new``, ``check``."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from turnout.cli.base import (
    HERE,
    SIZES,
    Devices,
    Folder,
    Json,
    Seed,
    Sizes,
    answer,
    app,
    at_least_one,
    examples,
    print_json,
)
from turnout.errors import JobFolderError
from turnout.process.exits import EXIT_DONE


@app.command(group=HERE, help_epilogue=examples("turnout demo", "turnout demo --mode sync --devices 100"))
def demo(
    *,
    mode: Annotated[Literal["buffered", "sync"], Parameter(help="Asynchronous training, or rounds.")] = "buffered",
    devices: Devices = 500,
    seed: Seed = 0,
    json: Json = False,
) -> int:
    """Watch devices of very different speed learn to read digits, beside the same model trained centrally."""
    from turnout.cli import running

    return running.demo(mode, at_least_one("--devices", devices), seed, json)


@app.command(group=HERE, help_epilogue=examples("turnout new my-job", "turnout new my-job --name keyboard"))
def new(
    folder: Annotated[Path, Parameter(help="Where to write it; must not exist, or be empty.")],
    *,
    name: Annotated[str, Parameter(help="What devices ask for; the folder's name unless given.")] = "",
    json: Json = False,
) -> int:
    """Write a job folder that runs as it is, with every setting explained: a starting point for your own."""
    from turnout.cli import scaffold
    from turnout.cli.outputs import Written

    written = Written(str(folder), scaffold.write(folder, name or folder.absolute().name))
    lines = [
        f"{folder} holds {', '.join(written.files)}",
        f"look at it:      turnout check {shlex.quote(str(folder))}",
        f"train it here:   turnout run {shlex.quote(str(folder))}",
    ]
    answer(written, lines, json)
    return EXIT_DONE


@app.command(
    group=HERE,
    help_epilogue=examples(
        "turnout check my-job --devices 5000",
        "turnout check my-job --no-trial --result-bytes-max 400000000",
        "turnout check my-job --json | jq .warnings",
    ),
)
def check(
    job_folder: Folder,
    *,
    trial: Annotated[bool, Parameter(help="Let a few devices train and measure the model: does the code run?")] = True,
    devices: Annotated[int, Parameter(help="How many devices the job is for; a few of these are tried.")] = 100,
    sizes: Sizes = SIZES,
    json: Json = False,
) -> int:
    """Read a job folder as a server would, try its code, and report its size, its cost and likely mistakes."""
    from turnout.cli import checking

    sizes.check()
    try:
        report = checking.examine(job_folder, trial=trial, devices=at_least_one("--devices", devices), sizes=sizes)
    except JobFolderError as error:
        if json:
            print_json(checking.Report(error=str(error)))
        raise
    answer(report, checking.lines(report), json)
    return EXIT_DONE


@app.command(
    group=HERE,
    name="run",
    help_epilogue=examples(
        "turnout run my-job", "turnout run my-job --devices 500 --dropout 0.1 --out model.safetensors"
    ),
)
def run_job(
    job_folder: Folder,
    *,
    devices: Devices = 100,
    seed: Annotated[int | None, Parameter(help="Goes before the seed of job.toml; 0 without either.")] = None,
    training_s: Annotated[float, Parameter(help="Time the median device takes for a task.")] = 0.2,
    training_sigma: Annotated[float, Parameter(help="Spread of it; 1 makes 5 % five times slower.")] = 0.5,
    dropout: Annotated[float, Parameter(help="Probability that a device vanishes from a task.")] = 0.0,
    out: Annotated[Path | None, Parameter(help="Where to save the model; NAME.safetensors unless given.")] = None,
    data: Annotated[Path | None, Parameter(help="Where to keep the server's data; thrown away unless given.")] = None,
    json: Json = False,
) -> int:
    """Run a job on this machine from start to end: a server on free ports and a simulated fleet."""
    from turnout.cli import running

    fleet = {
        "devices": at_least_one("--devices", devices),
        "training-s": training_s,
        "training-sigma": training_sigma,
        "dropout": dropout,
    }
    return running.run_job(job_folder, fleet, out, data, seed, json)
