"""What a machine can see of how we write."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "turnout"
#: What waits, acts, or asks the system.
IMPURE = {
    *("asyncio", "fcntl", "grpc", "mmap", "os", "resource", "secrets", "select", "selectors", "socket"),
    *("sqlite3", "ssl", "starlette", "subprocess", "tempfile", "threading", "time", "uvicorn", "uvloop"),
}
#: Folders that decide, and do nothing else but in these files.
PURE: dict[str, set[str]] = {
    "aggregator": set(),
    "device": {"blobs", "client", "http", "http_connection", "kept", "training"},
    "dispatcher": {"service"},
    "fleet": {"classroom", "delivery", "greeting", "ledger", "lines", "process", "training", "untrained"},
    "gateway": {"asgi", "asgi_app", "gateway", "grpc", "process", "weights"},
    "gateway/http1": {"connection", "server"},
    "job/account": {"eventlog"},
    "job/core": set(),
    "job/places": set(),
    "job/workflow": set(),
    "supervisor": {"channel", "commands", "entrance", "joblog", "life", "process", "runtime"},
    "text": set(),
    "wire": set(),
    "wire/forms": set(),
}
#: And in other folders these files decide.
PURE_FILES = {
    *("job/journal/earlier.py", "job/journal/form.py", "job/journal/journal.py", "blobs/base.py", "job/compose.py"),
    *("sim/loop.py", "sim/weather.py"),
}
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
#: Where the wall clock is read: to show times to people, to see how old a left folder is, and to end sessions of the
#: dashboard, which outlive the process that began them.
WALL_CLOCK = {
    "cli/doctor.py",
    "cli/server.py",
    "cli/showing.py",
    "cli/tokens.py",
    "client/listing.py",
    "control/process.py",
    "job/account/eventlog.py",
    "supervisor/joblog.py",
    "supervisor/runtime.py",
}
RUNS_PROCESS = {f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output")}
RUNS_CODE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "multiprocessing"}


def sources() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def pure() -> set[str]:
    """Every file that decides and does nothing else, messages and errors too."""
    folders = {
        path.relative_to(SRC).as_posix()
        for folder, shells in PURE.items()
        for path in (SRC / folder).glob("*.py")
        if path.stem not in shells
    }
    return {"messages.py", "errors.py", *folders, *PURE_FILES}


def acts(path: Path) -> list[str]:
    """What a file imports of IMPURE, and its functions that wait."""
    tree = ast.parse(path.read_text())
    waits = [node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    return sorted({module for module in imported(tree) if module.split(".")[0] in IMPURE}) + waits


@pytest.mark.parametrize("name", sorted(pure()))
def test_a_pure_module_touches_neither_clock_nor_socket(name: str) -> None:
    assert acts(SRC / name) == []


def test_what_a_pure_module_imports_is_pure_too() -> None:
    """Of ours; what libraries import is theirs."""
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in sorted(pure())]
    program = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module("turnout." + name)
print(*(module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "turnout"), sep="\\n")
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60).stdout.decode()
    reached = [Path(file) for file in found.split("\n") if file]
    assert {path.relative_to(SRC).as_posix() for path in reached} >= pure()
    assert {path.relative_to(SRC).as_posix(): acts(path) for path in reached if acts(path)} == {}


def test_the_wall_clock_decides_nothing() -> None:
    """It may jump by a day in either direction: leases, deadlines and waits go by job time and monotonic clocks."""
    reads = {
        path.relative_to(SRC).as_posix()
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr)
        in {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("date", "today")}
    }
    assert reads == WALL_CLOCK


#: Every place that renames, and how what it renames is made durable: what is in it before, and its name after.
RENAMES = {
    "control/routes/jobs.py": "a submitted folder: all of it, and the folders above, before the job is stored",
    "storage/durable.py": "what all others write through",
    "job/journal/backup.py": "a restored journal, and the one it replaces: SQLite's sync before, the folder after each",
    "job/journal/sqlite.py": "a new journal: SQLite's own sync before, the folder after",
}
#: The older parts of logs, by which nobody decides; and where a running server is found, which ends with the power.
NOT_KEPT = {"storage/rotation.py", "client/servers.py"}


def test_whatever_is_renamed_into_place_is_durable_then() -> None:
    """A power cut may otherwise leave a file that is empty, or none, where somebody decides by it."""
    renames = {
        path.relative_to(SRC).as_posix()
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _renames(node)
    }
    assert renames == {*RENAMES, *NOT_KEPT}
    for name in RENAMES:
        assert re.search(r"\bsync(_tree)?\(", (SRC / name).read_text()), name


def _renames(call: ast.Call) -> bool:
    """Whether this is a method of a path, or a function of os or shutil, that renames.

    ``replace`` of a string takes two arguments, and that of gateways one kind.
    """
    if not isinstance(call.func, ast.Attribute):
        return False
    of_module = isinstance(call.func.value, ast.Name) and call.func.value.id in ("os", "shutil")
    if of_module:
        return call.func.attr in ("rename", "renames", "replace", "link", "move")
    if call.func.attr == "replace":
        return len(call.args) == 1 and not call.keywords and "Kind." not in ast.unparse(call)
    return call.func.attr in ("rename", "hardlink_to")


def test_no_format_that_runs_code_on_load_is_used() -> None:
    for path in sources():
        tree = ast.parse(path.read_text())
        assert not {module.split(".")[0] for module in imported(tree)} & RUNS_CODE, path
        calls = [
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        assert not {"eval", "exec"} & set(calls), path
        assert "allow_pickle=True" not in path.read_text(), path


def test_files_and_functions_stay_small() -> None:
    for path in sources():
        text = path.read_text()
        assert text.count("\n") <= FILE_LINES_MAX, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno
                assert lines <= FUNCTION_LINES_MAX, f"{path}: {node.name} has {lines} lines"


def test_no_test_waits_for_a_process_for_ever() -> None:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in RUNS_PROCESS:
                assert "timeout" in {keyword.arg for keyword in node.keywords}, f"{path}:{node.lineno}"


def test_every_module_says_where_it_stands() -> None:
    for path in sources():
        if path.read_text().strip():
            assert ast.get_docstring(ast.parse(path.read_text())), path


def test_messages_know_nothing() -> None:
    assert not {m for m in imported(ast.parse((SRC / "messages.py").read_text())) if m.startswith("turnout")}
