"""Calls into a job folder's own code: it may fail in any way, which becomes one line with the line of its file."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from turnout.device.trainers.base import NoExamples
from turnout.errors import JobFolderError, TurnoutError
from turnout.job.folder.code import load_module
from turnout.process.worker import one_line

T = TypeVar("T")


def function(file: Path, name: str, wanted: str) -> Callable[..., Any]:
    """The function of this name; ``wanted`` is how an error calls it. Raises JobFolderError."""
    found = getattr(load_module(file), name, None)
    if not callable(found):
        raise JobFolderError(f"{file.name} has no function {wanted}; add one, or remove the file")
    made: Callable[..., Any] = found
    return made


def guarded(file: Path, what: str, call: Callable[[], T]) -> T:
    """What ``call`` returns. Raises JobFolderError for whatever it raises, but lets NoExamples pass."""
    try:
        return call()
    except NoExamples:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(file.absolute())]
        text = str(error) if isinstance(error, TurnoutError) else one_line(error)
        raise JobFolderError(f"{file.name}: {what}: {text}" + (f" (line {lines[-1]})" if lines else "")) from error
