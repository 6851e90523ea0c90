"""The forms in which devices speak that take no safetensors: one for each job, by ``form`` of its schema."""

from collections.abc import Mapping

from turnout.wire.forms.base import Form, Learned
from turnout.wire.forms.executorch import EXECUTORCH
from turnout.wire.forms.number import NUMBER
from turnout.wire.forms.weights import WEIGHTS

FORMS: Mapping[str, Form] = {form.name: form for form in (WEIGHTS, NUMBER, EXECUTORCH)}

__all__ = ["EXECUTORCH", "FORMS", "NUMBER", "WEIGHTS", "Form", "Learned"]
