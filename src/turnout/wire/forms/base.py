"""What a form is: how devices that take no safetensors are told a model, and tell what they learned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from turnout.messages import ModelSchema
from turnout.wire.tensors import Vector


@dataclass(frozen=True, slots=True)
class Learned:
    """``vector`` is finite and of the job's schema; ``count`` is how many examples the device claims, if it does."""

    vector: Vector
    count: float | None


@dataclass(frozen=True, slots=True)
class Form:
    """One of the forms of ``[wire]``."""

    name: str
    #: Of its ``task_data``.
    kind: str
    #: Of the file, named by the model's sha256, that ``task_data`` is made from.
    suffix: str
    #: The content of that file -> the JSON of ``data`` of ``task_data``.
    encode: Callable[[bytes | memoryview], bytes]
    #: ``kind`` and ``data`` of a result -> what was learned. Raises DeviceError.
    decode: Callable[[str | None, msgspec.Raw, ModelSchema], Learned]
    #: A result in this form, for a person whose result was none.
    example: str
    #: What a device is told for whom ``task_data`` is not made yet; may name the ``{version}``.
    not_ready: str = "the model is not ready"
    #: Whether a result is the model after training, and not the difference.
    absolute: bool = False
    #: Whether that file is made of the model by the job's hook, which has a bound of its own, and not the model itself.
    exported: bool = False
    #: What ``meta`` of ``task_data`` has beside the model's version and the job's settings.
    meta: Mapping[str, Any] = field(default_factory=dict)
