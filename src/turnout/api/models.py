"""Models in and out of the Python API: arrays by name, a PyTorch module, or a file."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.errors import DeviceError, JobFolderError, ServerError
from turnout.messages import KeptModel
from turnout.wire.model_files import Start, read_arrays, read_start, start_from, write_start
from turnout.wire.tensors import TensorNotFiniteError

logger = logging.getLogger("turnout")

SAFETENSORS, NPZ = ".safetensors", ".npz"


def model_file(model: Any) -> bytes:
    """A model as the content of a safetensors file.

    ``model`` is a mapping of arrays or tensors by name, a PyTorch module, or the path of a .safetensors or .npz file.
    As with a job folder, floating point of any size becomes float32, and integers and booleans are carried along; of
    a file, a line of the log says so. Raises JobFolderError.
    """
    torch = sys.modules.get("torch")
    try:
        if isinstance(model, str | Path):
            start = _read(Path(model))
            for note in start.notes:
                logger.warning("%s: %s", model, note)
        elif torch is not None and isinstance(model, torch.nn.Module):
            from turnout.device.trainers.torch_trainer import all_arrays

            start = start_from(all_arrays(model))
        elif isinstance(model, Mapping):
            start = start_from({str(name): _array(value) for name, value in model.items()})
        else:
            raise JobFolderError(
                f"model is a {type(model).__name__}; expected is a dict of arrays by name, a torch.nn.Module, or the "
                f"path of a {SAFETENSORS} or {NPZ} file"
            )
    except DeviceError as error:
        raise JobFolderError(f"model: {error}{_way_out(error, model)}") from None
    if not start.model.size:
        raise JobFolderError("the model has no floating point numbers, and only these are trained")
    return write_start(start)


def _array(value: Any) -> NDArray[Any]:
    """Of anything that numpy takes, and of a tensor of PyTorch on any device."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        from turnout.device.trainers.torch_trainer import to_array

        return to_array(value)
    return np.asarray(value)


def _way_out(error: DeviceError, model: Any) -> str:
    """What else to do about numbers that are not finite in a PyTorch module: mostly they are a mask of infinities."""
    if not isinstance(error, TensorNotFiniteError) or isinstance(model, str | Path | Mapping):
        return ""
    return (
        "; a buffer that is not trained, such as a mask, stays out of the model with register_buffer(..., "
        'persistent=False), or with model=to_arrays(module, "trainable") and TorchTrainer(..., parameters="trainable")'
    )


class Model(dict[str, NDArray[Any]]):
    """Arrays by name, in its order, the caller's to change; with the version that they are and what it measured."""

    version: int
    metrics: dict[str, float]

    def __init__(self, arrays: Mapping[str, NDArray[Any]], kept: KeptModel) -> None:
        super().__init__(sorted(arrays.items()))
        self.version, self.metrics = kept.version, dict(kept.metrics)


def read_model(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a model that turnout has saved, by name; they are the caller's own to change."""
    try:
        return read_arrays(file.read_bytes())
    except (OSError, DeviceError) as error:
        raise ServerError(f"the model in {file} cannot be read: {error}") from None


def _read(file: Path) -> Start:
    try:
        if file.suffix == SAFETENSORS:
            return read_start(file.read_bytes())
        if file.suffix == NPZ:
            with np.load(file, allow_pickle=False) as arrays:
                return start_from(dict(arrays))
    except (OSError, ValueError) as error:
        raise JobFolderError(f"the model in {file} cannot be read: {error}") from None
    except DeviceError as error:
        raise JobFolderError(f"the model in {file}: {error}") from None
    raise JobFolderError(f"the model {file} is no {SAFETENSORS} or {NPZ} file")
