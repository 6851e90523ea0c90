"""Functions written into files: what is in them runs by itself, in another process."""

import functools
import itertools
import json
import linecache
import subprocess
import sys
import types
import xml.etree.ElementTree
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from turnout.api.capture import capture
from turnout.device import Update
from turnout.errors import JobFolderError
from turnout.process.environment import PYTHON

RATE = 0.25
TABLE = {"a": [1, (2,), set()], "b": {3}, "c": None, "d": float("inf")}
EXAMPLES = np.arange(3.0)
PARTS = [np.array([0, 2]), np.array([1])]
HOME = Path("/tmp") / "data"
TEN = Decimal(10)


def run_elsewhere(folder: Path, files: dict[str, bytes], expression: str) -> Any:
    """What an expression over the written file gives in a process that knows nothing of this one."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    code = (
        f"import json; from turnout.job.folder.code import load_module; from pathlib import Path; "
        f"job = load_module(Path({str(folder / 'device.py')!r})); print(json.dumps({expression}))"
    )
    found = subprocess.run([*PYTHON[:-1], "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


class Base:
    def rate(self) -> float:
        return RATE


class Scaled(Base):
    """A class that needs its base, a constant, arrays, an inner function and itself."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def train(self) -> list[float]:
        def scaled(value: Any) -> Any:
            return value * self.rate()

        return [*scaled(EXAMPLES[PARTS[self.index]])]

    def next(self) -> "Scaled":
        return Scaled(self.index + 1)


def test_a_function_is_written_with_the_classes_constants_and_arrays_that_it_uses(tmp_path: Path) -> None:
    def trainer(index: int) -> Scaled:
        return Scaled(index)

    files = capture({"trainer": trainer}, "device.py")
    assert run_elsewhere(tmp_path, files, "[job.trainer(0).train(), job.trainer(0).next().train()]") == [
        [0, 0.5],
        [0.25],
    ]


def test_plain_values_come_through_as_they_are(tmp_path: Path) -> None:
    def trainer() -> str:
        return repr((TABLE, HOME))

    files = capture({"trainer": trainer}, "device.py")
    assert run_elsewhere(tmp_path, files, "job.trainer()") == repr((TABLE, HOME))


def test_values_of_a_closure_and_of_a_partial_are_written_as_they_are_now(tmp_path: Path) -> None:
    def outer(step: int) -> Callable[[int], int]:
        def add(value: int, times: int = 1) -> int:
            return value + step * times

        return add

    files = capture({"trainer": functools.partial(outer(3), times=2)}, "device.py")
    assert run_elsewhere(tmp_path, files, "job.trainer(1)") == 7


@functools.cache
def cached() -> int:
    return sum(int(part.text or 0) for part in xml.etree.ElementTree.fromstring("<a><b>2</b><b>3</b></a>"))


def test_decorators_and_submodules_are_imported(tmp_path: Path) -> None:
    files = capture({"trainer": cached}, "device.py")
    assert run_elsewhere(tmp_path, files, "job.trainer()") == 5


def test_what_can_be_imported_elsewhere_is_imported_and_not_copied() -> None:
    def trainer(index: int, devices: int, seed: int) -> Update:
        return Update({}, float(np.sqrt(index)))

    text = capture({"trainer": trainer}, "device.py")["device.py"].decode()
    assert "from turnout.device.trainers.base import Update" in text
    assert "import numpy as np" in text
    assert "class Update" not in text


def test_an_importable_function_is_only_named(tmp_path: Path) -> None:
    files = capture({"trainer": json.dumps}, "device.py")
    assert "from json import dumps as trainer" in files["device.py"].decode()
    assert run_elsewhere(tmp_path, files, "job.trainer([1])") == "[1]"


def test_annotations_need_nothing(tmp_path: Path) -> None:
    def trainer(index: "NotThere") -> TEN:  # type: ignore  # noqa: F821
        value: TEN = index  # type: ignore
        return value

    assert run_elsewhere(tmp_path, capture({"trainer": trainer}, "device.py"), "job.trainer(2)") == 2


def test_a_local_name_hides_a_global_one_that_cannot_be_written() -> None:
    def trainer(index: int) -> int:
        TEN = index + 1  # noqa: N806
        return TEN * 2

    assert "Decimal" not in capture({"trainer": trainer}, "device.py")["device.py"].decode()


numbers = itertools.count()


def notebook(*cells: str) -> dict[str, Any]:
    """Run cells as IPython does: each with a source of its own, in a module without a file."""
    module = types.ModuleType("__main__")
    for cell in cells:
        name = f"/tmp/ipykernel_1/{next(numbers)}.py"
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        exec(compile(cell, name, "exec"), vars(module))
    return vars(module)


def test_classes_and_functions_of_a_notebook_are_found_in_their_cells(tmp_path: Path) -> None:
    cells = notebook(
        "import numpy as np\nshift = 2",
        "class Adder:\n    def add(self, value):\n        return value + shift\n",
        "shift = 5\n\ndef trainer(index):\n    return Adder().add(index)\n",
    )
    assert run_elsewhere(tmp_path, capture({"trainer": cells["trainer"]}, "device.py"), "job.trainer(1)") == 6


def uses_decimal() -> Decimal:
    return TEN


def uses_missing() -> int:
    return missing  # type: ignore  # noqa: F821


def uses_file() -> str:
    return __file__


def uses_this_module() -> Any:
    return THIS.RATE


THIS = sys.modules[__name__]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (uses_decimal, 'uses_decimal uses "TEN", a Decimal, which cannot be written into a job folder; make it inside'),
        (uses_missing, 'uses_missing uses "missing", which is not defined where it stands; import or define it'),
        (uses_file, "uses_file uses __file__"),
        (uses_this_module, "which other processes cannot import; install it, put its folder into PYTHONPATH, or"),
        (lambda: 1, "trainer is a lambda, whose source cannot be read; write it with def"),
    ],
)
def test_what_cannot_be_written_is_named_with_a_way_out(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(JobFolderError) as caught:
        capture({"trainer": function}, "device.py")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_functions_that_mean_different_things_by_one_name_are_refused() -> None:
    first = notebook("rate = 1\ndef one():\n    return rate\n")
    second = notebook("rate = 2\n", "def two():\n    return rate\n")
    with pytest.raises(JobFolderError, match='two different things called "rate"; rename one'):
        capture({"evaluate": first["one"], "weigh": second["two"]}, "server.py")


def test_a_function_typed_where_no_source_is_kept_is_refused() -> None:
    scope: dict[str, Any] = {}
    exec(compile("def trainer():\n    return 1\n", "<stdin>", "exec"), scope)
    with pytest.raises(JobFolderError, match="write it in a file or in a notebook's cell"):
        capture({"trainer": scope["trainer"]}, "device.py")


def test_a_file_that_has_changed_since_is_noticed(tmp_path: Path) -> None:
    name = str(tmp_path / "script.py")
    scope: dict[str, Any] = {}
    exec(compile("def trainer():\n    return 1\n", name, "exec"), scope)
    Path(name).write_text("# new first line\ndef trainer():\n    return 1\n")
    with pytest.raises(JobFolderError, match="has changed since it was run"):
        capture({"trainer": scope["trainer"]}, "device.py")
