"""The job's own code that says of devices and of their results what they shall count, in a process of its own.

Runs in a worker (``turnout.process.pool``), one for each function: ``setup`` gets the path of the job folder's
``server.py`` and the function's name. What it is asked about comes in batches, for a call costs more than most answers.
"""

import math
from pathlib import Path
from typing import Any

import msgspec

from turnout.errors import JobFolderError
from turnout.job.hooks.evaluate_hook import Hook, loaded

Numbers = list[float]
Facts = dict[str, Any]

_facts = msgspec.msgpack.Decoder(list[Facts])
_name: str
_hook: Hook


def init_of(server: Path, name: str) -> bytes:
    """What ``setup`` is to be given."""
    return f"{name}\n{server}".encode()


def setup(init: memoryview) -> None:
    """Raises JobFolderError when the file has no such function."""
    global _name, _hook
    _name, _, path = bytes(init).decode().partition("\n")
    _hook = loaded(memoryview(path.encode()), _name)


def judge(batch: memoryview) -> bytes:
    """Call the function with the facts of each; returns its numbers as msgpack."""
    return msgspec.msgpack.encode([checked_number(_name, _hook(facts)) for facts in _facts.decode(batch)])


def checked_number(name: str, found: Any) -> float:
    """What a function returned, if it is a finite number and not below 0. Raises JobFolderError."""
    try:
        number = float(found)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise JobFolderError(f"{name} returned {found!r:.80}; expected is a finite number, 0 or more")
    return number
