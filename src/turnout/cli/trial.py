"""A job folder's code, tried: each hook of server.py once, and device.py by some devices (``fleet_trial.py``).

Runs in the process of ``checking.py`` only: it is the folder's own code.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from turnout.cli.fleet_trial import FleetTrial, try_fleet
from turnout.cli.own_code import function, guarded
from turnout.errors import JobFolderError
from turnout.job.folder.folder import EVALUATE, EXPORT, SELECT, WEIGH, JobFolder
from turnout.job.hooks.returned import checked_export, checked_metrics, checked_number
from turnout.messages import Message
from turnout.wire.forms import EXECUTORCH

HOOKS = (EVALUATE, EXPORT, SELECT, WEIGH)
DEVICE_FACTS = {"platform": "android", "platform_version": "15", "app_name": "an app", "app_version": "1.0"}
#: What the functions that judge are tried with.
FACTS: Mapping[str, dict[str, Any]] = {
    SELECT: DEVICE_FACTS,
    WEIGH: {**DEVICE_FACTS, "num_examples": 32.0, "metrics": {}, "staleness": 0},
}
DEVICES = 100  #: As with ``turnout run``.


class Trial(Message, frozen=True):
    """``metrics`` are those of the initial model; ``hooks``, the functions of server.py that were tried."""

    hooks: tuple[str, ...] = ()
    metrics: dict[str, float] = {}
    fleet: FleetTrial | None = None


def try_once(job: JobFolder, devices: int = DEVICES) -> Trial:
    """Run server.py as the job would, and device.py as a fleet would. Raises JobFolderError."""
    trial = Trial()
    if job.server is not None:
        metrics = _with_server(job, job.server)
        trial = Trial(tuple(hook for hook in HOOKS if _is_tried(job, hook)), metrics)
    if job.device is not None:
        trial = msgspec.structs.replace(trial, fleet=try_fleet(job, job.device, devices))
    return trial


def _is_tried(job: JobFolder, hook: str) -> bool:
    return job.has_hook(hook) and (hook != EXPORT or job.spec.wire.form == EXECUTORCH.name)


def _with_server(job: JobFolder, server: Path) -> dict[str, float]:
    """What its hooks say of the initial model."""
    if not any(job.has_hook(hook) for hook in HOOKS):
        raise JobFolderError(f"{server.name} has none of the functions {', '.join(HOOKS)}; add one, or remove the file")
    for name, facts in FACTS.items():
        if job.has_hook(name):
            judge = function(server, name, f"{name}(facts)")
            guarded(server, name, partial(_judged, judge, name, facts))
    if _is_tried(job, EXPORT):
        export = function(server, EXPORT, "export(model)")
        exported = job.arrays()
        guarded(server, EXPORT, lambda: checked_export(export(exported)))
    if not job.has_hook(EVALUATE):
        return {}
    evaluate = function(server, EVALUATE, "evaluate(model)")
    arrays = job.arrays()
    metrics = guarded(server, EVALUATE, lambda: checked_metrics(evaluate(arrays)))
    ranked = job.spec.evaluation.metric
    if ranked is not None and ranked not in metrics:
        found = ", ".join(metrics) or "nothing"
        raise JobFolderError(f'{server.name}: evaluate returned {found}; [evaluation] metric is "{ranked}"')
    return metrics


def _judged(judge: Callable[..., Any], name: str, facts: dict[str, Any]) -> float:
    return checked_number(name, judge(facts))
