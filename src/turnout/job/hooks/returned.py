"""What the functions of ``server.py`` may return, and how their mistakes are told. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from turnout.errors import JobFolderError

METRICS_MAX = 64
METRIC_NAME_CHARS = 64
EXPORT_BYTES_MAX = 64 * 1024 * 1024  #: Every gateway keeps it as base64, and every device gets it in one answer.


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


def checked_export(made: Any) -> bytes:
    """What a hook returned, if a device can be sent it. Raises JobFolderError."""
    if not isinstance(made, bytes | bytearray):
        raise JobFolderError(f"export returned {type(made).__name__}; expected are the bytes of a .pte file")
    if not made:
        raise JobFolderError("export returned no bytes; expected are those of a .pte file")
    if len(made) > EXPORT_BYTES_MAX:
        raise JobFolderError(f"export returned {len(made):,} bytes; a device can be sent {EXPORT_BYTES_MAX:,} at most")
    return bytes(made)


def checked_number(name: str, found: Any) -> float:
    """What a function returned, if it is a finite number and not below 0. Raises JobFolderError."""
    try:
        number = float(found)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise JobFolderError(f"{name} returned {found!r:.80}; expected is a finite number, 0 or more")
    return number
