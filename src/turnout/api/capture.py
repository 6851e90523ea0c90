"""Functions of the calling process, written into Python files that other processes can run; nothing is pickled.

What can be imported elsewhere is imported there. What cannot (a script's or a notebook's own functions and classes) is
copied as source, with all that it uses, down to plain values and arrays as they are now. See docs/decisions.
"""

import builtins
import functools
import inspect
import io
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.api.source import definition_of
from turnout.errors import JobFolderError
from turnout.process.environment import PYTHON, environment

ARRAYS_BYTES_MAX = 1 << 30  #: Of one file; larger data is better kept in a file that the function reads.
VALUE_CHARS_MAX = 1 << 20  #: Of one plain value's text.
DEPTH_MAX = 16  #: Of lists in lists.
IMPORT_TIMEOUT_S = 30.0
PLAIN = (type(None), bool, int, str, bytes, complex)
BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ",)"), set: ("{", "}")}
_FIND = (
    "import importlib.util, sys; found = importlib.util.find_spec(sys.argv[1]); print(found.origin if found else '')"
)


def capture(roles: Mapping[str, Callable[..., Any]], file: str) -> dict[str, bytes]:
    """The files that define each function of ``roles`` under its role: ``file``, and its arrays beside it.

    Raises JobFolderError when one uses what cannot be written; the error names it and a way out.
    """
    writer = _Writer(Path(file).stem + ".npz")
    for role, function in roles.items():
        writer.role(role, function)
    return {file: writer.text(", ".join(roles)).encode(), **writer.files()}


class _Writer:
    """One Python file in the making: imports, then values and definitions in the order in which they are needed."""

    def __init__(self, arrays_file: str) -> None:
        self._arrays_file = arrays_file
        self._imports: list[str] = []
        self._body: list[str] = []
        self._bound: dict[str, Any] = {}
        self._arrays: dict[str, NDArray[Any]] = {}

    def role(self, role: str, function: Any) -> None:
        """Define ``function`` under the name ``role``."""
        if isinstance(function, functools.partial):
            text = self._expression(function, role, role)  # which may need a function that is itself called ``role``
            if self._bound.setdefault(role, function.func) is not function.func:
                raise JobFolderError(f'{role} uses something else called "{role}"; rename that')
            self._body.append(f"{role} = {text}\n")
            return
        name = getattr(function, "__name__", role)
        if _import_of(function, role) or not isinstance(name, str) or not name.isidentifier():
            name = role
        self._bind(name, function, role)
        if name != role:
            if role in self._bound:
                raise JobFolderError(f'{role}={name}: {name} uses something else called "{role}"; rename that')
            self._bound[role] = function
            self._body.append(f"{role} = {name}\n")

    def text(self, what: str) -> str:
        head = f'"""Written by turnout.Job: {what}, and what is used there."""\n\nfrom __future__ import annotations\n'
        if self._arrays:
            self._imports += ["from pathlib import Path as _Path", "import numpy as _np"]
            load = f'_arrays = _np.load(_Path(__file__).with_name("{self._arrays_file}"), allow_pickle=False)\n'
            self._body.insert(0, load)
        imports = "".join(f"{line}\n" for line in dict.fromkeys(self._imports))
        return "\n".join([head, imports, *self._body])

    def files(self) -> dict[str, bytes]:
        if not self._arrays:
            return {}
        if sum(array.nbytes for array in self._arrays.values()) > ARRAYS_BYTES_MAX:
            largest = max(self._arrays, key=lambda name: self._arrays[name].nbytes)
            raise JobFolderError(
                f'the arrays that are used, "{largest}" above all, have more than {ARRAYS_BYTES_MAX >> 20} MiB; '
                "keep them in a file that your function reads"
            )
        packed = io.BytesIO()
        np.savez(packed, **self._arrays)  # type: ignore[arg-type]
        return {self._arrays_file: packed.getvalue()}

    def _bind(self, name: str, value: Any, who: str) -> None:
        """Make ``name`` stand for ``value``; once."""
        if name in self._bound:
            known = self._bound[name]
            if known is not value and not (type(known) is type(value) in (*PLAIN, float) and known == value):
                raise JobFolderError(f'{who} needs two different things called "{name}"; rename one')
            return
        self._bound[name] = value
        if line := _import_of(value, name):
            self._imports.append(line)
        elif isinstance(value, ModuleType):
            raise JobFolderError(
                f"{who} uses the module {value.__name__}, which other processes cannot import; install it, put its "
                "folder into PYTHONPATH, or import what you need of it by name"
            )
        elif _is_definition(value):
            self._define(name, value)
        else:
            self._body.append(f"{name} = {self._expression(value, name, who)}\n")

    def _define(self, name: str, value: Any) -> None:
        definition = definition_of(value, name)
        for used in definition.uses:
            if used in definition.scope and used not in ("__name__", "__file__"):
                self._bind(used, definition.scope[used], name)
            elif used == "__file__":
                raise JobFolderError(f"{name} uses __file__, which differs in a job folder; give the full path")
            elif not hasattr(builtins, used):
                raise JobFolderError(f'{name} uses "{used}", which is not defined where it stands; import or define it')
        for dotted in definition.dotted:
            self._import_submodule(dotted)
        self._body.append("\n" + definition.text)
        if name != definition.name:
            self._bind_alias(name, definition.name, value)

    def _import_submodule(self, dotted: str) -> None:
        """``import xml`` alone does not load ``xml.etree``, which a definition may use since others have loaded it."""
        first, _, rest = dotted.partition(".")
        package = self._bound.get(first)
        if isinstance(package, ModuleType) and f"{package.__name__}.{rest}" in sys.modules:
            self._imports.append(f"import {package.__name__}.{rest}")

    def _bind_alias(self, name: str, own_name: str, value: Any) -> None:
        if self._bound.setdefault(own_name, value) is not value:
            raise JobFolderError(f'two different things are called "{own_name}"; rename one')
        self._body.append(f"{name} = {own_name}\n")

    def _expression(self, value: Any, name: str, who: str, depth: int = 0) -> str:
        """Python for a value. Raises JobFolderError for one that is neither plain nor made of arrays."""
        text = self._plain(value, name, who, depth) if depth < DEPTH_MAX else None
        if text is None:
            raise JobFolderError(
                f'{who} uses "{name}", a {type(value).__name__}, which cannot be written into a job folder; '
                f"make it inside {who}, or put it into a module that can be imported"
            )
        if len(text) > VALUE_CHARS_MAX:
            raise JobFolderError(f'{who} uses "{name}", which is too long to write down; make it a numpy array')
        return text

    def _plain(self, value: Any, name: str, who: str, depth: int) -> str | None:
        kind = type(value)
        if kind in PLAIN:
            return repr(value)
        if isinstance(value, functools.partial):
            return self._partial(value, name, who, depth)
        if kind is float:
            return repr(value) if math.isfinite(value) else f'float("{value}")'
        if isinstance(value, np.ndarray | np.generic):
            return self._array(np.asarray(value), name, isinstance(value, np.generic))
        if isinstance(value, Path):
            self._imports.append("from pathlib import Path as _Path")
            return f"_Path({str(value)!r})"
        if kind is dict:
            items = [[self._expression(part, name, who, depth + 1) for part in item] for item in value.items()]
            return "{" + ", ".join(f"{key}: {inner}" for key, inner in items) + "}"
        if kind in BRACKETS and value:
            opening, closing = BRACKETS[kind]
            return opening + ", ".join(self._expression(part, name, who, depth + 1) for part in value) + closing
        if kind in BRACKETS:
            return f"{kind.__name__}()"
        return self._tensor(value, name)

    def _partial(self, value: functools.partial[Any], name: str, who: str, depth: int) -> str:
        self._bind(value.func.__name__, value.func, who)
        self._imports.append("import functools as _functools")
        parts = [self._expression(part, name, who, depth + 1) for part in value.args]
        parts += [f"{key}={self._expression(part, name, who, depth + 1)}" for key, part in value.keywords.items()]
        return f"_functools.partial({', '.join([value.func.__name__, *parts])})"

    def _array(self, array: NDArray[Any], name: str, scalar: bool) -> str | None:
        if array.dtype.hasobject:
            return None
        key = name if name not in self._arrays else f"{name}_{len(self._arrays)}"
        self._arrays[key] = array
        return f"_arrays[{key!r}]" + "[()]" * scalar

    def _tensor(self, value: Any, name: str) -> str | None:
        """A tensor of PyTorch, which is loaded already if there is one."""
        torch = sys.modules.get("torch")
        if torch is None or type(value) is not torch.Tensor or value.dtype is torch.bfloat16:
            return None
        self._imports.append("import torch as _torch")
        return f"_torch.from_numpy({self._array(value.detach().cpu().numpy(), name, False)})"


def _is_definition(value: Any) -> bool:
    return isinstance(value, type) or (callable(value) and isinstance(inspect.unwrap(value), FunctionType))


# --- what other processes can import ------------------------------------------------------------------------------


def _import_of(value: Any, name: str) -> str:
    """The statement that imports ``value`` as ``name`` in another process; empty when there is none."""
    if isinstance(value, ModuleType):
        if not _importable(value.__name__):
            return ""
        parent, _, last = value.__name__.rpartition(".")
        if parent:
            return _from(parent, last, name)
        return f"import {last}" if last == name else f"import {last} as {name}"
    module, qualname = (str(getattr(value, attribute, "")) for attribute in ("__module__", "__qualname__"))
    if _importable(module) and vars(sys.modules[module]).get(qualname) is value:
        return _from(module, qualname, name)
    if type(value) in PLAIN or isinstance(value, float | list | tuple | dict | set | np.ndarray | np.generic):
        return ""
    for module in sorted(sys.modules):
        found = vars(sys.modules[module]) if isinstance(sys.modules[module], ModuleType) else {}
        for own_name in {name, getattr(value, "__name__", name)}:
            if isinstance(own_name, str) and found.get(own_name) is value and _importable(module):
                return _from(module, own_name, name)
    return ""


def _from(module: str, own_name: str, name: str) -> str:
    return f"from {module} import {own_name}" + (f" as {name}" if name != own_name else "")


def _importable(module: str) -> bool:
    """Whether another process that is started here imports the same module under this name."""
    top = module.partition(".")[0]
    return module in sys.modules and (top in sys.stdlib_module_names or _is_found_elsewhere(top))


@functools.cache
def _is_found_elsewhere(top: str) -> bool:
    """Asked of a fresh Python, started as workers are: folders of scripts and notebooks are not on its path."""
    if top == "__main__":
        return False
    answer = subprocess.run(
        [*PYTHON[:-1], "-c", _FIND, top],
        capture_output=True,
        text=True,
        check=False,
        timeout=IMPORT_TIMEOUT_S,
        env=environment(),
    )
    return answer.returncode == 0 and answer.stdout.strip() == str(getattr(sys.modules[top], "__file__", None))
