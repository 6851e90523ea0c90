"""The job's own code in a process of its own: slow code delays nobody, a crash is a warning.

Runs in a worker (``turnout.process.pool``). ``setup`` gets the path of the job folder's ``server.py``.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from turnout.errors import JobFolderError
from turnout.job.folder.code import load_module
from turnout.wire.model_files import read_arrays

METRICS_MAX = 64
METRIC_NAME_CHARS = 64

Hook = Callable[..., Any]

_evaluate: Hook


def setup(path: memoryview) -> None:
    """Load ``evaluate`` from the file named by ``path``. Raises JobFolderError when it has none."""
    global _evaluate
    _evaluate = loaded(path, "evaluate")


def loaded(path: memoryview, name: str) -> Hook:
    """The function of this name in the file named by ``path``. Raises JobFolderError when it has none."""
    file = Path(bytes(path).decode())
    found = getattr(load_module(file), name, None)
    if not callable(found):
        raise JobFolderError(f"{file.name} has no function {name}(model); add one, or remove the file")
    hook: Hook = found
    return hook


def evaluate(model: memoryview) -> bytes:
    """Call the hook with the model's arrays by name; returns its metrics as msgpack, finite or not."""
    return msgspec.msgpack.encode(numbers(_evaluate(read_arrays(model))))


def checked_metrics(metrics: Any) -> dict[str, float]:
    """What a hook returned, if it is a dict of finite numbers. Raises JobFolderError."""
    checked = numbers(metrics)
    for name in not_finite(checked):
        raise JobFolderError(no_metric(name, checked[name]))
    return checked


def not_finite(metrics: Mapping[str, float]) -> list[str]:
    """Those that are NaN or infinite: no measurement, and often the sign that training has diverged."""
    return [name for name, value in metrics.items() if not math.isfinite(value)]


def no_metric(name: str, value: object) -> str:
    """In words."""
    return f"evaluate returned {name} = {value!r:.80}; a metric is a finite number"


def numbers(metrics: Any) -> dict[str, float]:
    """What a hook returned, if it is a dict of numbers. Raises JobFolderError."""
    if not isinstance(metrics, dict) or len(metrics) > METRICS_MAX:
        raise JobFolderError(f"evaluate must return a dict of at most {METRICS_MAX} numbers by name")
    for name, value in metrics.items():
        if not isinstance(name, str) or not 0 < len(name) <= METRIC_NAME_CHARS or not name.isprintable():
            raise JobFolderError(
                f"evaluate returned the metric name {name!r:.80}; use 1 to {METRIC_NAME_CHARS} printable characters"
            )
        try:
            math.isfinite(value)
        except (TypeError, OverflowError):
            raise JobFolderError(no_metric(name, value)) from None
    return {name: float(value) for name, value in metrics.items()}
