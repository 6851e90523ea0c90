"""The Python API with real processes: in a script, in a notebook, in an event loop; stopped, broken, forgotten."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.server import PATIENCE_S, eventually, processes, server

PAGE = Path(__file__).parents[2] / "docs" / "PYTHON.md"
SERVER = "http://127.0.0.1:8711"
JOB = """
import sys
import numpy as np
import turnout

class Ones:
    def train(self, model, config):
        if config.get("fails"):
            raise OSError("no data here")
        return turnout.Update({"w": np.ones(4, np.float32)}, 1.0)

def trainer(index, devices, seed):
    return Ones()

def job(versions=1000, **device):
    training = {"workflow": "buffered", "concurrency": 4, "buffer_goal": 2, "staleness": {"discount": "constant"}}
    pacing = {"wait_min_s": 0.01, "wait_max_s": 0.05}
    tables = {"training": training, "pacing": pacing, "stop": {"versions": versions}, "device": device}
    return turnout.Job("tiny", {"w": np.zeros(4)}, trainer=trainer, **tables)

"""


def blocks() -> Iterator[str]:
    """The code of the page; without PyTorch, but for that."""
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if "torch" not in block or importlib.util.find_spec("torch") is not None:
            yield block


def script(folder: Path, text: str) -> tuple[list[str], str]:
    """What a script prints, line by line, and what it says on stderr; nothing that it started is left behind."""
    folder = folder / "scripts"
    folder.mkdir()
    file = folder / "script.py"
    file.write_text(text)
    found = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, check=False, cwd=folder, timeout=8 * PATIENCE_S
    )
    assert found.returncode == 0, found.stdout + found.stderr
    eventually("all has ended", lambda: not [line for _, line in processes().values() if str(folder) in line])
    return found.stdout.splitlines(), found.stderr


@pytest.mark.slow
def test_the_code_of_the_page_runs_from_its_top_to_its_end(tmp_path: Path) -> None:
    code = "\n".join(blocks())
    assert SERVER in code
    with server(tmp_path / "data") as running:
        lines, errors = script(tmp_path, code.replace(SERVER, running.api_url))
    assert errors == ""
    assert "Job: stop.versions = 0: expected is an integer, at least 1 and at most 10000000" in lines
    for line in ("version 8 is the last", "two versions are enough", "running", "cancelled"):
        assert line in lines
    assert [line for line in lines if re.match(r"8 0\.\d+", line)], "eight versions come near the mean"


def test_a_notebook_in_whose_event_loop_it_runs_gets_events_and_models(tmp_path: Path) -> None:
    """Cells have no file, and run inside an event loop; the run is stopped from there and keeps its model."""
    cells = ["import numpy as np\nimport turnout\nfrom pathlib import Path\n", JOB.partition("import turnout\n")[2]]
    text = f"""
import asyncio, linecache, sys, types
notebook = sys.modules["__main__"] = types.ModuleType("__main__")
async def cells():
    for number, cell in enumerate({cells!r}):
        name = f"/nowhere/ipykernel_1/{{number}}.py"
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        exec(compile(cell, name, "exec"), vars(notebook))
    turnout = notebook.turnout
    run = turnout.run(notebook.job(), devices=8, training_s=0.05)
    async for event in run:
        if event.kind == "published" and event.version == 3:
            while run.status.version < 3:  # it may be a moment older than the event
                await asyncio.sleep(0.01)
            print("while it runs", run.model()["w"].min() >= 3, run.is_running, run.status.version >= 3)
            await asyncio.to_thread(run.stop)
    print("then", run.wait().state, run.is_running, run.model()["w"].min() >= 3, repr(run))
asyncio.run(cells())
"""
    (first, last), errors = script(tmp_path, text)
    assert errors == ""
    assert first == "while it runs True True True"
    assert re.fullmatch(r"then cancelled False True <turnout.Run of 'tiny': version \d+, cancelled>", last)


def test_a_script_that_ends_ends_its_runs(tmp_path: Path) -> None:
    lines, errors = script(
        tmp_path, JOB + "run = turnout.run(job(), devices=8, data='kept')\nprint(next(iter(run)).kind)\n"
    )
    assert (lines, errors) == (["started"], "")
    assert (tmp_path / "scripts" / "kept" / "jobs").is_dir()


SHOW = """
def show():
    for event in run:
        print(event.kind, flush=True)

def show_until_the_end():
    try:
        show()
    except turnout.TurnoutError:
        pass
"""
WAITS = {
    "for": "show()",
    "wait": "import threading\nthreading.Thread(target=show_until_the_end, daemon=True).start()\nrun.wait()",
    "with": "with run:\n    show()",
}


@pytest.mark.parametrize("moment", ["described", "published"])
@pytest.mark.parametrize("waiting", WAITS)
def test_ctrl_c_ends_a_script_and_its_run_and_leaves_nothing(tmp_path: Path, waiting: str, moment: str) -> None:
    """Pressed while the server is being started, and while devices train; the terminal tells the script's group."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    file = tmp_path / "script.py"
    run = 'run = turnout.run(job(), devices=8, training_s=0.05)\nprint("described", flush=True)\n'
    file.write_text(f"{JOB}{SHOW}{run}{WAITS[waiting]}\n")
    started = subprocess.Popen(
        [sys.executable, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        process_group=0,
    )
    assert started.stdout is not None
    while started.stdout.readline().strip() != moment:
        assert started.poll() is None
    os.killpg(started.pid, signal.SIGINT)
    _, errors = started.communicate(timeout=8 * PATIENCE_S)
    assert started.returncode == -signal.SIGINT
    # asyncio may print this about a process that ends while its transport is closed; nothing is lost by it.
    said = [line for line in errors.splitlines() if not line.startswith("Unknown child process pid")]
    assert said[-1] == "KeyboardInterrupt", "Python's own last words, and no others after them"
    assert not list(temporary.iterdir())
    eventually("all has ended", lambda: not [line for _, line in processes().values() if str(temporary) in line])


def test_devices_that_fail_to_train_are_said_once(tmp_path: Path) -> None:
    text = """
import logging, threading
failed = threading.Event()
class Handler(logging.Handler):
    def emit(self, record):
        print(record.getMessage())
        failed.set()
logging.getLogger("turnout.run").addHandler(Handler())
with turnout.run(job(fails=True), devices=8, training_s=0.05) as run:
    failed.wait(60)
print([line for line in run.log if line.startswith("OSError")][0])
"""
    lines, _ = script(tmp_path, JOB + text)
    assert lines == ["devices fail to train: OSError: no data here", "OSError: no data here"]


def test_a_run_whose_devices_all_fail_to_train_ends_with_the_reason(tmp_path: Path) -> None:
    """And not when its time is over."""
    text = """
run = turnout.run(job(fails=True), devices=8, training_s=0.05)
try:
    for event in run:
        if event.kind == "warning":
            print(event.text)
except turnout.TurnoutError as error:
    print(error)
"""
    lines, _ = script(tmp_path, JOB + text)
    assert lines == [
        "devices fail to train: OSError: no data here",
        "all 8 devices fail to train: OSError: no data here",
        "all 8 devices fail to train: OSError: no data here; nothing was counted, so this run has ended",
    ]


def test_a_run_whose_rounds_never_reach_their_quorum_ends_with_the_reason(tmp_path: Path) -> None:
    """Every device takes too long: the job pauses itself, and nobody is there who would resume it."""
    text = """
rounds = {"workflow": "rounds", "cohort": 2, "deadline_s": 0.5, "round_extensions_max": 0}
limits = {"stop": {"versions": 3, "time_s": 600}, "pacing": {"wait_min_s": 0.01, "wait_max_s": 0.05}}
slow = turnout.Job("tiny", {"w": np.zeros(4)}, trainer=trainer, training=rounds, **limits)
run = turnout.run(slow, devices=8, training_s=600)
try:
    run.wait()
except turnout.TurnoutError as error:
    print(error)
"""
    (line,), _ = script(tmp_path, JOB + text)
    assert re.fullmatch(
        "the job paused itself and waits for a person to resume or cancel it: 0 of 2 updates for version 1 came in "
        r"1 deadlines(; oldest lease \d+ s)?; this run has ended",
        line,
    )


def test_what_breaks_a_run_off_is_raised_where_somebody_waits(tmp_path: Path) -> None:
    text = """
run = turnout.run(job(), devices=8)
try:
    run.model()
except turnout.TurnoutError as error:
    print(error)
run.cancel()
for wait in (run.wait, lambda: list(run)):
    try:
        wait()
        print("ended")
    except turnout.TurnoutError as error:
        print(error)
try:
    turnout.run(turnout.Job("none", {"w": np.zeros(4)}, stop={"versions": 1}))
except turnout.TurnoutError as error:
    print(error)
for wrong in (dict(devices=0), dict(devices=8, droput=0.1), dict(devices=8, dropout=2.0)):
    try:
        turnout.run(job(), **wrong)
    except turnout.TurnoutError as error:
        print(str(error).partition(";")[0])
"""
    lines, _ = script(tmp_path, JOB + text)
    assert lines == [
        "there is no model yet; wait for the first event of the kind published",
        "the run was cancelled before its job had ended",
        "the run was cancelled before its job had ended",
        "the job has no trainer, which simulated devices need; give Job one: trainer=...",
        "devices is 0",
        "run has no option droput",
        "dropout is 2.0",
    ]


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://127.0.0.1:9", "start a server with: turnout up"), ("ftp://x", "is not a server URL")],
)
def test_a_server_that_is_not_there_is_said_at_once(url: str, words: str) -> None:
    import turnout

    with pytest.raises(turnout.TurnoutError, match=words):
        turnout.connect(url)
