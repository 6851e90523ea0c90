"""The functions of a job's ``server.py``, in a process of their own: slow code delays nobody, a crash is a warning.

Runs in a worker (``turnout.process.pool``). ``setup`` gets the path of the file; each call names the function.
``runner.py`` is the job's side.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from turnout.errors import JobFolderError
from turnout.job.folder.code import load_module
from turnout.job.folder.folder import EVALUATE, EXPORT, SELECT, WEIGH
from turnout.job.hooks.returned import checked_export, checked_number, numbers
from turnout.wire.model_files import read_arrays

Hook = Callable[..., Any]

_facts = msgspec.msgpack.Decoder(list[dict[str, Any]])
_module: ModuleType


def setup(path: memoryview) -> None:
    """Run the file named by ``path``. Raises JobFolderError when it fails."""
    global _module
    _module = load_module(Path(bytes(path).decode()))


def call(name: str, payload: memoryview) -> bytes:
    """Call the function of this name with what ``payload`` holds. Raises JobFolderError for what it must not return."""
    return CALLS[name](_function(name), payload)


def _function(name: str) -> Hook:
    found = getattr(_module, name, None)
    if not callable(found):
        file = Path(_module.__file__ or "").name
        raise JobFolderError(f"{file} has no function {name}; add one, or remove the file")
    hook: Hook = found
    return hook


def _evaluate(hook: Hook, model: memoryview) -> bytes:
    """A model's arrays by name; its metrics as msgpack, finite or not."""
    return msgspec.msgpack.encode(numbers(hook(read_arrays(model))))


def _export(hook: Hook, model: memoryview) -> bytes:
    """A model's arrays by name; the file that was made of them."""
    return checked_export(hook(read_arrays(model)))


def _select(hook: Hook, batch: memoryview) -> bytes:
    """A batch of facts, for a call costs more than most answers; a number for each."""
    return msgspec.msgpack.encode([checked_number(SELECT, hook(facts)) for facts in _facts.decode(batch)])


def _weigh(hook: Hook, batch: memoryview) -> bytes:
    return msgspec.msgpack.encode([checked_number(WEIGH, hook(facts)) for facts in _facts.decode(batch)])


CALLS: Mapping[str, Callable[[Hook, memoryview], bytes]] = {
    EVALUATE: _evaluate,
    EXPORT: _export,
    SELECT: _select,
    WEIGH: _weigh,
}
