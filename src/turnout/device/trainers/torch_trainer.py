"""Local training of any PyTorch module: ``pip install "turnout[torch]"``.

The model's tensors are those of the module's ``state_dict``, by name and as float32: its parameters, and its buffers of
floating point, such as the running statistics of a batch norm. So these are averaged over devices like weights: a
version can be evaluated as it is. A tensor that has several names (tied weights) is sent once, by the first. Buffers
of integers (how many batches a batch norm has seen) are not trained: every task begins with those of a new module.
Where devices hold very different data, averaged statistics fit none of them; a group norm has none.

``parameters`` says what of that is trained and sent; all else stays on the device as a new module has it: "all",
"trainable" (parameters that require a gradient, and no buffers), or patterns of names such as ``"head.*"``: the last
that matches decides, ``"!*.mask"`` leaves out, and what none matches is left out unless the first pattern leaves out.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset, TensorDataset, default_collate

from turnout.device.trainers.base import Arrays, NoExamples, Update
from turnout.device.trainers.numpy_trainer import TrainingConfig
from turnout.wire.tensors import Vector, flatten, schema_of

Loss = Callable[[Tensor, Tensor], Tensor]  #: Of the module's output and the batch's targets: their mean loss.
Chosen = str | Sequence[str]
ALL, TRAINABLE = "all", "trainable"


class TorchConfig(TrainingConfig, frozen=True):
    """The ``[device]`` settings that this trainer knows beside those of ``NumpyTrainer``; it ignores others."""

    #: "sgd" uses ``momentum``. "adam" begins each task anew: its moments stay on no device.
    optimizer: Literal["sgd", "adam"] = "sgd"
    #: How strongly weights are pulled to zero, from 0.
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    #: Gradients with a larger L2 norm are shortened to it. Unset: none are.
    gradient_norm_max: Annotated[float, Meta(gt=0)] | None = None


class TorchTrainer:
    """Trains on one device's data set of (input, target) pairs; with none it raises NoExamples.

    ``module`` is a function without arguments, often the class itself, whose results all have the same ``state_dict``.
    The same task always gives the same update on the same machine, unless several threads train at once: PyTorch draws
    dropout from one generator for all of them.
    """

    def __init__(
        self,
        module: Callable[[], nn.Module],
        dataset: "Dataset[tuple[Tensor, Tensor]]",
        loss: Loss,
        seed: int = 0,
        parameters: Chosen = ALL,
    ) -> None:
        self._module = module
        self._dataset = dataset
        self._loss = loss
        self._seed = seed
        self._parameters = parameters if isinstance(parameters, str) else tuple(parameters)

    def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
        """Raises msgspec.ValidationError for settings out of range, ValueError when training diverges."""
        settings = msgspec.convert(config, TorchConfig)
        if not len(self._dataset):
            raise NoExamples("the device has no examples")
        generator = np.random.default_rng((self._seed, settings.seed, settings.model_version))
        with torch.random.fork_rng(devices=[]):
            module = from_arrays(_new(self._module, self._parameters), model, self._parameters)
            torch.manual_seed(int(generator.integers(2**63)))
            loss = self._descend(module, settings, generator)
        after = to_arrays(module, self._parameters)
        if not all(np.isfinite(array).all() for array in after.values()):
            raise ValueError(f"training diverged with learning_rate {settings.learning_rate:g}; lower it")
        first = _first_names(module)
        delta = {name: after[first.get(name, name)] - model[name] for name in model}
        return Update(delta, float(len(self._dataset)), {"loss": loss})

    def evaluate(self, model: Arrays, config: Mapping[str, Any]) -> tuple[dict[str, float], float]:
        """The loss on the device's own data and, where targets are classes, the accuracy; and how many examples."""
        settings = msgspec.convert(config, TorchConfig)
        if not len(self._dataset):
            raise NoExamples("the device has no examples")
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            module = from_arrays(_new(self._module, self._parameters), model, self._parameters).eval()
            loss, right, is_classes = 0.0, 0, True
            for chosen in _pieces(np.arange(len(self._dataset)), settings.batch_size):
                inputs, targets = self._pairs(chosen)
                output = module(inputs)
                loss += float(self._loss(output, targets)) * len(chosen)
                is_classes &= targets.dtype == torch.int64 and targets.ndim == 1 and output.ndim == 2
                right += int((output.argmax(1) == targets).sum()) if is_classes else 0
        count = len(self._dataset)
        return {"loss": loss / count, **({"accuracy": right / count} if is_classes else {})}, float(count)

    def _descend(self, module: nn.Module, settings: TorchConfig, generator: np.random.Generator) -> float:
        """Train the module in its place; the mean loss of the last epoch."""
        module.train()
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        anchors = [parameter.detach().clone() for parameter in parameters] if settings.mu else []
        optimizer = _optimizer(parameters, settings)
        loss = 0.0
        for _ in range(settings.epochs):
            losses = []
            for inputs, targets in self._batches(module, settings.batch_size, generator):
                optimizer.zero_grad()
                value = self._loss(module(inputs), targets)
                value.backward()
                for parameter, anchor in zip(parameters, anchors, strict=bool(anchors)):
                    if parameter.grad is not None:
                        parameter.grad.add_(parameter.detach() - anchor, alpha=settings.mu)
                if settings.gradient_norm_max is not None:
                    nn.utils.clip_grad_norm_(parameters, settings.gradient_norm_max)
                optimizer.step()
                losses.append((float(value.detach()), len(targets)))
            loss = sum(value * size for value, size in losses) / sum(size for _, size in losses)
        return loss

    def _batches(self, module: nn.Module, size: int, generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """The data set once, in an order of its own each time."""
        order = generator.permutation(len(self._dataset))
        if len(order) > 1 and len(order) % size == 1 and _batch_norms(module):
            order = order[:-1]  # a batch of one has no spread to norm by
        for chosen in _pieces(order, size):
            yield self._pairs(chosen)

    def _pairs(self, chosen: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """These examples, as one batch."""
        if isinstance(self._dataset, TensorDataset):  # many times faster than one by one
            inputs, targets = (tensor[torch.from_numpy(chosen)] for tensor in self._dataset.tensors)
        else:
            inputs, targets = default_collate([self._dataset[int(index)] for index in chosen])
        return inputs, targets


def _pieces(order: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    for begin in range(0, len(order), size):
        yield order[begin : begin + size]


def to_arrays(module: nn.Module, parameters: Chosen = ALL) -> dict[str, Vector]:
    """What of a module is trained and sent, in the order of its ``state_dict``: a copy, as float32."""
    return {name: to_array(tensor) for name, tensor in _trained(module, parameters).items()}


def all_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """The same with the buffers of integers and booleans, for a model file that people may load whole."""
    others = {name: to_array(tensor) for name, tensor in _state(module) if not tensor.is_floating_point()}
    return {**to_arrays(module), **others}


def to_array(tensor: Tensor) -> NDArray[Any]:
    """A copy of a tensor on any device; of floating point as float32."""
    kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
    array: NDArray[Any] = tensor.detach().to("cpu", kind, copy=True).numpy()
    return array


def from_arrays(module: nn.Module, arrays: Mapping[str, NDArray[Any]], parameters: Chosen = ALL) -> nn.Module:
    """The module with these values, which must be exactly those that ``to_arrays`` gives, by name and shape.

    Of tied weights any name will do. What a model carries beside, such as counters, is set as well, where it is given.
    A running variance below zero, which large steps of the server can make, is taken for zero.
    """
    trained = _trained(module, parameters)
    first = _first_names(module)
    others = {name: tensor for name, tensor in _state(module) if not tensor.is_floating_point()}
    floats = {first.get(name, name): array for name, array in arrays.items() if name not in others}
    schema = schema_of({name: np.empty(tuple(tensor.shape), np.float32) for name, tensor in trained.items()})
    flatten(floats, schema)  # raises a DeviceError that names the tensor
    with torch.no_grad():
        for name, tensor in trained.items():
            tensor.copy_(torch.from_numpy(np.array(floats[name])))
        for name, tensor in others.items():
            if name in arrays:
                tensor.copy_(torch.from_numpy(np.array(arrays[name])))
        for norm in _batch_norms(module):
            if norm.running_var is not None:
                norm.running_var.clamp_(min=0)
    return module


def _state(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All tensors by name, tied ones by each of theirs: the module's own, so that tied ones are the same object."""
    state: Mapping[str, Any] = module.state_dict(keep_vars=True)
    return ((name, tensor) for name, tensor in state.items() if isinstance(tensor, Tensor))


def _first_names(module: nn.Module) -> dict[str, str]:
    """Of each tensor's every name, the first."""
    by_id: dict[int, str] = {}
    return {name: by_id.setdefault(id(tensor), name) for name, tensor in _state(module)}


def _trained(module: nn.Module, parameters: Chosen) -> dict[str, Tensor]:
    """The tensors that are trained, by their first name. Raises ValueError when there are none."""
    first = _first_names(module)
    chosen = {
        first[name]: tensor
        for name, tensor in _state(module)
        if tensor.is_floating_point() and _is_chosen(name, tensor, parameters)
    }
    if not chosen:
        raise ValueError(f"parameters={parameters!r} chooses none of {', '.join(first) or 'no tensors'}")
    return chosen


def _is_chosen(name: str, tensor: Tensor, parameters: Chosen) -> bool:
    if parameters == ALL:
        return True
    if parameters == TRAINABLE:
        return isinstance(tensor, nn.Parameter) and tensor.requires_grad
    patterns = [parameters] if isinstance(parameters, str) else list(parameters)
    chosen = bool(patterns) and patterns[0].startswith("!")
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix("!")):
            chosen = not pattern.startswith("!")
    return chosen


def _batch_norms(module: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]


def _optimizer(parameters: list[nn.Parameter], settings: TorchConfig) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=settings.step_size, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        parameters, lr=settings.step_size, momentum=settings.momentum, weight_decay=settings.weight_decay
    )


class _Kept(threading.local):
    """The module that this thread trained last and what made it: a simulated fleet has one for all its devices."""

    made: tuple[Callable[[], nn.Module], Chosen] | None = None
    module: nn.Module
    untrained: Mapping[str, Tensor]  #: Buffers that ``from_arrays`` does not set, as they were when it was new.


_last = _Kept()


def _new(factory: Callable[[], nn.Module], parameters: Chosen) -> nn.Module:
    """A module of which all that is not trained is as in a new one."""
    if _last.made != (factory, parameters):
        module = factory()
        trained = {id(tensor) for tensor in _trained(module, parameters).values()}
        if parameters not in (ALL, TRAINABLE):
            for parameter in module.parameters():
                parameter.requires_grad_(parameter.requires_grad and id(parameter) in trained)
        _last.untrained = {
            name: tensor.clone()
            for name, tensor in _state(module)
            if id(tensor) not in trained and not isinstance(tensor, nn.Parameter)
        }
        _last.module = module
        _last.made = (factory, parameters)
    state = dict(_state(_last.module))
    for name, tensor in _last.untrained.items():
        state[name].copy_(tensor)
    return _last.module
