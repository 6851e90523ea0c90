"""Commands that move a job's model or its whole memory: ``model``, ``backup``, ``restore``."""

import re
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from turnout.cli.base import JOBS, LOCAL, Job, Json, Remote, answer, app, examples
from turnout.errors import UsageError
from turnout.process.exits import EXIT_DONE


@app.command(
    group=JOBS,
    help_epilogue=examples(
        "turnout model digits",
        "turnout model digits --version newest --out newest.safetensors",
        "turnout model digits --version 40 --format npz",
    ),
)
def model(
    job: Job,
    *,
    version: Annotated[
        str | None,
        Parameter(help="best, newest, or a number; unless given, the best by the job's metric, where it has one."),
    ] = None,
    format: Annotated[Literal["safetensors", "npz"], Parameter(help="npz is numpy's.")] = "safetensors",
    out: Annotated[Path | None, Parameter(help="Where to save it; JOB_ID.FORMAT unless given.")] = None,
    remote: Remote = LOCAL,
    json: Json = False,
) -> int:
    """Save a model of a job: the best version by its metric, or the newest."""
    from turnout.cli.finding import find
    from turnout.cli.outputs import Saved
    from turnout.cli.progress import moving
    from turnout.control.choosing import described

    if version is not None and not re.fullmatch(r"newest|best|\d{1,9}", version):
        raise UsageError(f'--version "{version}" is none; give newest, best, or a number like 12')
    client = remote.client()
    view = find(client, job)
    target = out or Path(f"{view.job_id}.{format}")
    with moving() as bar:
        got = client.model(view.job_id, target, version or "", format, bar.step("getting the model"))
    status = client.job(view.job_id).status
    metrics = next((kept.metrics for kept in status.kept if kept.version == got), {}) if status else {}
    saved = Saved(view.job_id, got, str(target), target.stat().st_size, metrics)
    which = described(status, got) if status else f"version {got}"
    answer(saved, [f"{which} saved to {target}"], json)
    return EXIT_DONE


@app.command(group=JOBS, help_epilogue=examples("turnout backup digits digits.backup"))
def backup(
    job: Job,
    file: Annotated[Path, Parameter(help="Where to save the copy.")],
    *,
    remote: Remote = LOCAL,
    json: Json = False,
) -> int:
    """Copy all that a job must not forget into one file, while it runs: model, buffer, counted results, leases."""
    from turnout.cli.finding import find
    from turnout.cli.outputs import Saved
    from turnout.cli.progress import moving

    client = remote.client()
    view = find(client, job)
    with moving() as bar:
        version = client.backup(view.job_id, file, bar.step("getting the backup"))
    saved = Saved(view.job_id, version, str(file), file.stat().st_size)
    answer(saved, [f"job {view.job_id} as of version {version} saved to {file}"], json)
    return EXIT_DONE


@app.command(group=JOBS, help_epilogue=examples("turnout restore digits-1f2e3d4c digits.backup"))
def restore(
    job: Job,
    file: Annotated[Path, Parameter(help="What turnout backup has written.")],
    *,
    remote: Remote = LOCAL,
    json: Json = False,
) -> int:
    """Continue a job that has ended from a backup; results counted after the backup was made are lost."""
    from turnout.cli.finding import find
    from turnout.cli.progress import moving

    if not file.is_file():
        raise UsageError(f"{file}: no such file; give one that turnout backup has written")
    client = remote.client()
    view = find(client, job)
    with moving() as bar:
        view = client.restore(view.job_id, file, bar.step("sending the backup", then="the server checks it"))
    said = f"job {view.job_id} continues from {file}; tasks given out before are refused, devices ask for new ones"
    answer(view, [said], json)
    return EXIT_DONE
