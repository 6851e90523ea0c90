"""turnout trains one model on a fleet of devices that come and go.

The walk of a request, which is also the order of the folders:

    device ──HTTP──▶ gateway ──▶ dispatcher ──▶ transport ──▶ job ──▶ aggregator ──▶ model version + 1

What people use from Python is named here, and loaded when it is first used: the command line and every process of a
server import this module, and shall not pay for it.
"""

# As light as can be: typing and importlib are read from the disk while Ctrl-C would still show a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from turnout.api import Job, RemoteJob, Run, Server, connect, run
    from turnout.device import NoExamples, Trainer, Update, run_device
    from turnout.errors import TurnoutError
    from turnout.messages import JobEvent

__version__ = "0.2.0.dev0"  #: The one place of it: pyproject.toml takes it from here.
__all__ = [
    "Job",
    "JobEvent",
    "NoExamples",
    "RemoteJob",
    "Run",
    "Server",
    "Trainer",
    "TurnoutError",
    "Update",
    "connect",
    "run",
    "run_device",
]

_HOMES = {
    **dict.fromkeys(("Job", "RemoteJob", "Run", "Server", "connect", "run"), "turnout.api"),
    **dict.fromkeys(("NoExamples", "Trainer", "Update", "run_device"), "turnout.device"),
    "JobEvent": "turnout.messages",
    "TurnoutError": "turnout.errors",
}


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'turnout' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
