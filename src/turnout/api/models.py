"""Models in and out of the Python API: arrays by name, a PyTorch module, or a file."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from turnout.errors import DeviceError, JobFolderError, ServerError
from turnout.wire.tensors import Vector, flatten, read_safetensors, schema_of, to_safetensors, unflatten

SAFETENSORS, NPZ = ".safetensors", ".npz"


def model_file(model: Any) -> bytes:
    """A model as the content of a safetensors file.

    ``model`` is a mapping of arrays by name, a PyTorch module, or the path of a .safetensors or .npz file. Floating
    point of another size becomes float32. Raises JobFolderError.
    """
    if isinstance(model, str | Path):
        arrays = _read(Path(model))
    elif (torch := sys.modules.get("torch")) is not None and isinstance(model, torch.nn.Module):
        from turnout.device.trainers.torch_trainer import to_arrays

        arrays = to_arrays(model)
    elif isinstance(model, Mapping):
        arrays = {str(name): np.asarray(value) for name, value in model.items()}
    else:
        raise JobFolderError(
            f"model is a {type(model).__name__}; expected is a dict of arrays by name, a torch.nn.Module, or the path "
            f"of a {SAFETENSORS} or {NPZ} file"
        )
    if not arrays:
        raise JobFolderError("the model has no arrays")
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating):
            raise JobFolderError(f'model["{name}"] holds {array.dtype}; only floating point numbers are trained')
    with np.errstate(over="ignore"):  # what is too large for float32 is found below
        floats = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    schema = schema_of(floats)
    try:
        return to_safetensors(flatten(floats, schema), schema)
    except DeviceError as error:
        raise JobFolderError(f"model: {error}") from None


def read_model(file: Path) -> dict[str, Vector]:
    """The arrays of a model that turnout has saved, by name; they are the caller's own to change."""
    try:
        vector, schema = read_safetensors(file.read_bytes())
    except (OSError, DeviceError) as error:
        raise ServerError(f"the model in {file} cannot be read: {error}") from None
    return unflatten(vector, schema)


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.suffix == SAFETENSORS:
            vector, schema = read_safetensors(file.read_bytes())
            return unflatten(vector, schema)
        if file.suffix == NPZ:
            with np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
    except (OSError, DeviceError, ValueError) as error:
        raise JobFolderError(f"the model in {file} cannot be read: {error}") from None
    raise JobFolderError(f"the model {file} is no {SAFETENSORS} or {NPZ} file")
