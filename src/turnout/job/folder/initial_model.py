"""The model that a job begins with: ``model.safetensors``, or what ``initial_model()`` of model.py gives."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from turnout.errors import DeviceError, JobFolderError
from turnout.job.folder.code import load_module, reason
from turnout.wire.model_files import Start, read_start, start_from

MODEL_FILE = "model.safetensors"
MODEL_CODE = "model.py"
RESERVED_TENSOR_NAME = "__metadata__"  #: The safetensors format uses it for notes.


def initial_model(folder: Path, seed: int) -> Start:
    """``model.safetensors`` goes first: it is a warm start. Raises JobFolderError."""
    if (folder / MODEL_FILE).exists():
        source = MODEL_FILE
        try:
            start = read_start((folder / MODEL_FILE).read_bytes())
        except DeviceError as error:
            raise JobFolderError(f"{MODEL_FILE}: {error}") from None
        except OSError as error:
            raise JobFolderError(f"{MODEL_FILE}: cannot be read: {error.strerror}") from None
    elif (folder / MODEL_CODE).exists():
        source = f"{MODEL_CODE}: initial_model()"
        start = _from_code(folder / MODEL_CODE, source, seed)
    else:
        raise JobFolderError(
            f"{folder}: no initial model; expected is {MODEL_FILE}, or {MODEL_CODE} with initial_model()"
        )
    if not start.model.size:
        raise JobFolderError(f"{source}: the model has no parameters")
    return start


def _from_code(file: Path, source: str, seed: int) -> Start:
    function = getattr(load_module(file), "initial_model", None)
    if not callable(function):
        raise JobFolderError(
            f"{MODEL_CODE}: no function initial_model(); expected is one that returns a dict of arrays"
        )
    try:
        arrays = function(seed) if _takes_seed(function) else function()
    except Exception as error:  # the folder's own code may fail in any way
        raise JobFolderError(f"{source} failed: {reason(error, file)}") from error
    if not isinstance(arrays, dict):
        raise JobFolderError(f"{source} gave {type(arrays).__name__}; expected is a dict of arrays by name")
    for name, array in arrays.items():
        if not isinstance(name, str) or name == RESERVED_TENSOR_NAME:
            raise JobFolderError(
                f"{source} has a tensor named {name!r}; expected is text other than {RESERVED_TENSOR_NAME}"
            )
        if not isinstance(array, np.ndarray):
            raise JobFolderError(f"{source}: {name!r} is of type {type(array).__name__}; expected is an array of numpy")
    try:
        return start_from(arrays)
    except DeviceError as error:
        raise JobFolderError(f"{source}: {error}") from None


def _takes_seed(function: Callable[..., Any]) -> bool:
    """Whether its first parameter is called ``seed``."""
    try:
        return next(iter(inspect.signature(function).parameters), "") == "seed"
    except (TypeError, ValueError):
        return False
