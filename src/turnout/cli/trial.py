"""A job folder's code, tried once: one device trains one task, and the model before and after is measured.

Runs in the process of ``checking.py`` only: it is the folder's own code.
"""

import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from turnout.errors import JobFolderError, TurnoutError
from turnout.job.choice_hook import checked_number
from turnout.job.choices import SELECT, WEIGH
from turnout.job.export_hook import checked_export
from turnout.job.folder import EVALUATE, EXPORT, JobFolder, load_module
from turnout.job.hooks import checked_metrics
from turnout.messages import Message
from turnout.wire.forms import EXECUTORCH
from turnout.wire.tensors import flatten, unflatten
from turnout.worker_main import one_line

HOOKS = (EVALUATE, EXPORT, SELECT, WEIGH)
DEVICE_FACTS = {"platform": "android", "platform_version": "15", "app_name": "an app", "app_version": "1.0"}
#: What the functions that judge are tried with.
FACTS: Mapping[str, dict[str, Any]] = {
    SELECT: DEVICE_FACTS,
    WEIGH: {**DEVICE_FACTS, "num_examples": 32.0, "metrics": {}, "staleness": 0},
}
DEVICES = 10  #: Of so many, the first trains.

T = TypeVar("T")


class Trial(Message, frozen=True):
    """What one device did. ``metrics`` are those of the initial model; ``hooks``, the functions of server.py tried."""

    hooks: tuple[str, ...] = ()
    metrics: dict[str, float] = {}
    train_s: float | None = None
    num_examples: float = 0.0
    update_norm: float = 0.0


def try_once(job: JobFolder) -> Trial:
    """Run server.py and device.py as the job and a fleet would. Raises JobFolderError."""
    trial = Trial()
    if job.server is not None:
        metrics = _with_server(job, job.server)
        trial = Trial(tuple(hook for hook in HOOKS if _is_tried(job, hook)), metrics)
    return _with_device(job, trial) if job.device is not None else trial


def _is_tried(job: JobFolder, hook: str) -> bool:
    return job.has_hook(hook) and (hook != EXPORT or job.spec.wire.form == EXECUTORCH.name)


def _with_server(job: JobFolder, server: Path) -> dict[str, float]:
    """What its hooks say of the initial model."""
    if not any(job.has_hook(hook) for hook in HOOKS):
        raise JobFolderError(f"{server.name} has none of the functions {', '.join(HOOKS)}; add one, or remove the file")
    for name, facts in FACTS.items():
        if job.has_hook(name):
            judge = _function(server, name, f"{name}(facts)")
            _guarded(server, name, partial(_judged, judge, name, facts))
    if _is_tried(job, EXPORT):
        export = _function(server, EXPORT, "export(model)")
        exported = unflatten(job.model.copy(), job.schema)
        _guarded(server, EXPORT, lambda: checked_export(export(exported)))
    if not job.has_hook(EVALUATE):
        return {}
    evaluate = _function(server, EVALUATE, "evaluate(model)")
    arrays = unflatten(job.model.copy(), job.schema)
    metrics = _guarded(server, EVALUATE, lambda: checked_metrics(evaluate(arrays)))
    ranked = job.spec.evaluation.metric
    if ranked is not None and ranked not in metrics:
        found = ", ".join(metrics) or "nothing"
        raise JobFolderError(f'{server.name}: evaluate returned {found}; [evaluation] metric is "{ranked}"')
    return metrics


def _judged(judge: Callable[..., Any], name: str, facts: dict[str, Any]) -> float:
    return checked_number(name, judge(facts))


def _with_device(job: JobFolder, trial: Trial) -> Trial:
    assert job.device is not None
    make = _function(job.device, "trainer", "trainer(index, devices, seed)")
    trainer = _guarded(job.device, "trainer", lambda: make(0, DEVICES, 0))
    arrays = unflatten(job.model.copy(), job.schema)
    config = {**job.spec.device, "model_version": 0}
    began = time.monotonic()
    update = _guarded(job.device, "train", lambda: trainer.train(arrays, config))
    train_s = time.monotonic() - began
    delta = _guarded(job.device, "the update that train returned", lambda: flatten(update.delta, job.schema))
    return Trial(trial.hooks, trial.metrics, train_s, float(update.num_examples), float(np.linalg.norm(delta)))


def _function(file: Path, name: str, wanted: str) -> Callable[..., Any]:
    found = getattr(load_module(file), name, None)
    if not callable(found):
        raise JobFolderError(f"{file.name} has no function {wanted}; add one, or remove the file")
    function: Callable[..., Any] = found
    return function


def _guarded(file: Path, what: str, call: Callable[[], T]) -> T:
    """The folder's own code may fail in any way: which becomes one line with the line of its file."""
    try:
        return call()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(file.absolute())]
        text = str(error) if isinstance(error, TurnoutError) else one_line(error)
        raise JobFolderError(f"{file.name}: {what}: {text}" + (f" (line {lines[-1]})" if lines else "")) from error
