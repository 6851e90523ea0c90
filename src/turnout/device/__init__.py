"""The Python SDK of devices: ``await run_device(url, job_name, trainer, device_id=...)``.

Names are loaded when they are first used: who imports ``turnout.device.session`` gets its decisions, and no sockets.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnout.device.client import DeviceClient, Finished, run_device
    from turnout.device.session import Session, SessionCounters, SessionPolicy
    from turnout.device.trainers.base import Arrays, NoExamples, Trainer, Update

__all__ = [
    "Arrays",
    "DeviceClient",
    "Finished",
    "NoExamples",
    "Session",
    "SessionCounters",
    "SessionPolicy",
    "Trainer",
    "Update",
    "run_device",
]

_HOMES = {
    **dict.fromkeys(("DeviceClient", "Finished", "run_device"), "turnout.device.client"),
    **dict.fromkeys(("Session", "SessionCounters", "SessionPolicy"), "turnout.device.session"),
    **dict.fromkeys(("Arrays", "NoExamples", "Trainer", "Update"), "turnout.device.trainers.base"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
