"""What a machine can see of how we write."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "turnout"
IMPURE = {"asyncio", "time", "socket", "threading", "uvloop", "sqlite3", "subprocess"}
PURE = [
    "messages.py",
    "errors.py",
    "wire/edge_headers.py",
    "wire/edge_replies.py",
    "wire/edge_requests.py",
    "wire/edge_results.py",
    "wire/tensors.py",
    "wire/nested.py",
    "wire/frames.py",
    "wire/edge_grpc.py",
    "gateway/queries.py",
    "wire/forms/base.py",
    "wire/forms/weights.py",
    "wire/forms/number.py",
    "wire/forms/executorch.py",
    "gateway/core.py",
    "gateway/routes.py",
    "gateway/limits.py",
    "gateway/http1/framing.py",
    "gateway/http1/ranges.py",
    "dispatcher/table.py",
    "dispatcher/pending.py",
    "dispatcher/room.py",
    "dispatcher/returns.py",
    "blobs/base.py",
    "job/core/core.py",
    "job/core/events.py",
    "job/core/answers.py",
    "job/workflow/rounds.py",
    "job/workflow/buffered.py",
    "job/workflow/workflow.py",
    "job/places/leases.py",
    "job/places/places.py",
    "job/places/counted.py",
    "job/core/published.py",
    "job/places/selection.py",
    "job/places/pacing.py",
    "job/workflow/evaluation.py",
    "job/account/tally.py",
    "job/core/status.py",
    "job/folder/spec.py",
    "job/core/staged.py",
    "job/core/held.py",
    "job/core/parts.py",
    "job/core/pause.py",
    "job/account/groups.py",
    "job/workflow/ranking.py",
    "job/workflow/federated.py",
    "job/core/judging.py",
    "job/account/warnings.py",
    "job/account/latency.py",
    "job/core/ending.py",
    "job/core/snapshots.py",
    "aggregator/mean.py",
    "aggregator/codec.py",
    "aggregator/staleness.py",
    "aggregator/optimizer.py",
    "device/session.py",
    "device/meanings.py",
    "fleet/core.py",
    "supervisor/children.py",
    "supervisor/effects.py",
    "supervisor/policy.py",
    "supervisor/watched.py",
    "sim/loop.py",
    "sim/checker.py",
    "sim/weather.py",
    "sim/herd.py",
]
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


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_touches_neither_clock_nor_socket(name: str) -> None:
    tree = ast.parse((SRC / name).read_text())
    assert not {module.split(".")[0] for module in imported(tree)} & IMPURE
    assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]


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


def test_messages_know_nothing_and_cores_know_no_shell() -> None:
    assert not {m for m in imported(ast.parse((SRC / "messages.py").read_text())) if m.startswith("turnout")}
    shells = (
        "turnout.gateway.http1.server",
        "turnout.transport.unix",
        "turnout.job.process",
        "turnout.control",
        "turnout.cli",
    )
    for name in PURE:
        modules = set(imported(ast.parse((SRC / name).read_text())))
        assert not [module for module in modules if module.startswith(shells)], name
