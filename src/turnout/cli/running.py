"""``turnout demo`` and ``turnout run``: a plan, a run of it, and in the end what came of it in a few lines."""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from rich.console import Console

from turnout.client.view import JobState
from turnout.control.choosing import described
from turnout.errors import TurnoutError
from turnout.job.folder.folder import load_job_folder
from turnout.local.feasible import check_devices
from turnout.local.runner import Outcome, Plan, Stopped, plan_run, run
from turnout.local.screen import screen_for
from turnout.local.view import text
from turnout.process.exits import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NOT_COMPLETED
from turnout.process.streams import say
from turnout.process.systems import check_server
from turnout.supervisor import commands

DEMO_MODEL = Path("turnout-demo") / "model.safetensors"
#: Slow and fast devices, some far away, and one task in ten is never reported.
DEMO_FLEET = {
    "training-s": 0.5,
    "training-sigma": 1.0,
    "delay-s": 0.02,
    "delay-sigma": 0.5,
    "dropout": 0.1,
    "recovery-s": 5.0,
}


def demo(mode: Literal["buffered", "sync"], devices: int, seed: int, as_json: bool = False) -> int:
    """Train the digits. ``as_json``: the end is told as JSON on stdout, all else on stderr."""
    check_server()
    from turnout.demo.job import write_folder

    with tempfile.TemporaryDirectory(prefix="turnout-demo-") as temporary:
        folder = write_folder(Path(temporary) / "job", mode, devices)
        check_devices(load_job_folder(folder).spec.training, devices)
        plan = Plan(
            title=f"turnout demo: {devices} devices learn to read digits ({mode})",
            folder=folder,
            devices=devices,
            fleet=lambda url, name: commands.fleet(url, name, folder, {"devices": devices, "seed": seed, **DEMO_FLEET}),
            model=DEMO_MODEL,
            data=Path(temporary) / "data",
            central=commands.central(seed),
            seed=seed,
        )
        return _run(plan, as_json)


def run_job(
    folder: Path,
    fleet: Mapping[str, float],
    out: Path | None,
    data: Path | None,
    seed: int | None = None,
    as_json: bool = False,
) -> int:
    """Run a job folder with a simulated fleet; ``fleet`` holds options of ``turnout fleet``, "devices" among them.

    Its code is tried first: what fails on every device would else be found by looking at a job that never moves.
    """
    from turnout.cli.checking import try_code

    with tempfile.TemporaryDirectory(prefix="turnout-run-") as temporary:
        plan = plan_run(folder, fleet, out, data or Path(temporary) / "data", seed)
        if sys.stderr.isatty():
            say("trying the folder's code once")
        try_code(folder, int(fleet["devices"]))
        return _run(plan, as_json)


def _run(plan: Plan, as_json: bool) -> int:
    console = Console(stderr=as_json)
    try:
        with screen_for(console) as screen:
            outcome = asyncio.run(run(plan, screen))
    except Stopped as stopped:
        _print(console, f"{stopped}: the fleet, the job, control and the gateways have ended; no model was saved")
        return EXIT_INTERRUPTED
    except TurnoutError as error:
        say(f"turnout: {error}")
        return EXIT_FAILED
    for line in _summary(plan, outcome):
        _print(console, line)
    if as_json:
        _print_json(plan, outcome)
    return EXIT_DONE if outcome.view.state is JobState.COMPLETED else EXIT_NOT_COMPLETED


def _print_json(plan: Plan, outcome: Outcome) -> None:
    """The same for programs."""
    from turnout.cli.base import print_json
    from turnout.cli.outputs import RunEnded

    view = outcome.view
    ended = RunEnded(
        job_id=view.job_id,
        state=view.state,
        reason=view.reason,
        version=view.status.version if view.status else 0,
        metrics=view.status.metrics if view.status else {},
        metrics_version=view.status.metrics_version if view.status else 0,
        took_s=round(outcome.picture.elapsed_s, 3),
        model=str(plan.model) if outcome.saved is not None else "",
        model_version=outcome.saved,
        model_metrics=_measured(outcome),
        seed=plan.seed,
        sat_out=outcome.picture.fleet.sat_out if outcome.picture.fleet else 0,
    )
    print_json(ended)


def _summary(plan: Plan, outcome: Outcome) -> list[str]:
    """What a person wants to know in the end."""
    picture, view = outcome.picture, outcome.view
    took = f"{picture.elapsed_s:.0f} s"
    if view.state is not JobState.COMPLETED:
        lines = [f"the job is {view.state} after {took}: {view.reason}"]
    else:
        version = f"version {view.status.version}" if view.status else "the model"
        lines = [f"done in {took}: {version} ({view.reason})"]
    if picture.fleet is not None and picture.fleet.sat_out:
        lines.append(f"{picture.fleet.sat_out} of {plan.devices} devices have no examples, and sat out")
    if picture.value is not None:
        lines.append(compared(picture.metric, picture.value, picture.central) + picture.behind)
    lines.append(f"seed {plan.seed}; not reproducible, as updates arrive in wall time, in an order of their own")
    if outcome.saved is None or view.status is None:
        return [*lines, "there is no model to save"]
    return [*lines, f"the model is saved in {plan.model}: {described(view.status, outcome.saved)}"]


def _measured(outcome: Outcome) -> dict[str, float]:
    """What the saved model measured."""
    kept = outcome.view.status.kept if outcome.view.status else ()
    return next((model.metrics for model in kept if model.version == outcome.saved), {})


def compared(metric: str, value: float, central: dict[str, float] | None) -> str:
    """The metric, beside what central training reached; accuracy in percent, the difference in points."""
    if metric != "accuracy":
        return f"{metric} {value:.4g}" + (f"; trained centrally {central[metric]:.4g}" if central else "")
    reached = f"accuracy {100 * value:.1f} %"
    if central is None or metric not in central:
        return reached
    points = 100 * (value - central[metric])
    beside = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if abs(points) >= 0.05 else "the same"
    return f"{reached}; the same model trained centrally {100 * central[metric]:.1f} %: {beside}"


def _print(console: Console, line: str) -> None:
    console.print(text(line), soft_wrap=True)
