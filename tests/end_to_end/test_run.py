"""``turnout run`` as a person meets it: to the end of the job, with processes killed on the way, and with Ctrl-C."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.device import SIZE, job_folder
from tests.end_to_end.server import PATIENCE_S, TURNOUT, descendants, eventually, processes
from turnout.wire.tensors import read_safetensors

pytestmark = pytest.mark.slow

DEVICE_PY = f"""
import numpy as np
from turnout.device.trainers.base import Update


class Ones:
    def train(self, model, config):
        return Update({{"w": np.ones({SIZE}, np.float32)}}, 1.0)

def trainer(index, devices, seed):
    return Ones()
"""
SERVER_PY = """
def evaluate(model):
    return {"accuracy": float(model["w"][0]) / 100}
"""


class Run:
    """A ``turnout run`` or ``turnout demo`` and what it printed."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        """Started in ``folder``."""
        self.process = subprocess.Popen(
            [*TURNOUT, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_line(self, pattern: str) -> str:
        eventually(f"a line with {pattern!r}", lambda: any(re.search(pattern, line) for line in self.lines))
        return next(line for line in self.lines if re.search(pattern, line))

    def wait(self) -> int:
        """Its exit code, once all it printed was read."""
        code = self.process.wait(2 * PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code

    def child(self, command: str) -> int:
        """The process that runs this; of several, the oldest. On a busy machine ``ps`` may miss one for a moment."""
        return min(eventually(f"{command} is found", lambda: self._children(command)))

    def _children(self, command: str) -> list[int]:
        return [pid for pid in descendants(self.process.pid) if command in processes().get(pid, (0, ""))[1]]

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as printed:
            for line in printed:
                self.lines.append(line.rstrip("\n"))


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        ("device.py", "import nothing_like_it\n", "device.py: "),
        ("device.py", DEVICE_PY.replace("return Update", "1 / 0; return Update"), "device.py: train: "),
        ("server.py", "def evaluate(model):\n    return model['v']\n", "server.py: evaluate: "),
    ],
)
def test_code_that_fails_everywhere_is_told_before_anything_is_started(
    tmp_path: Path, file: str, code: str, words: str
) -> None:
    job = job_folder(tmp_path / "job", 1)
    (job / "device.py").write_text(DEVICE_PY)
    (job / "server.py").write_text(SERVER_PY)
    (job / file).write_text(code)
    running = Run(tmp_path, "run", "job", "--data", "data")
    assert running.wait() == 2
    (line,) = running.lines
    assert words in line
    assert not (tmp_path / "data").exists()


@contextmanager
def run(folder: Path, versions: int) -> Iterator[Run]:
    """Run a tiny job and save its model; as ``started``."""
    job = job_folder(folder / "job", versions)
    (job / "device.py").write_text(DEVICE_PY)
    (job / "server.py").write_text(SERVER_PY)
    with started(folder, "run", "job", "--devices", "8", "--training-s", "0.1", "--out", "out/model") as running:
        yield running


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Run]:
    """A run that has counted its first results; at the end of the block none of its processes may be left."""
    running = Run(folder, *arguments)
    try:
        running.wait_line(r"  version [1-9]")
        before = descendants(running.process.pid)
        yield running
        running.wait()
        eventually("all have ended", lambda: not before & processes().keys())
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
        print(*running.lines, sep="\n")  # shown when the test fails


def test_a_job_folder_is_trained_and_its_model_saved(tmp_path: Path) -> None:
    with run(tmp_path, versions=8) as running:
        assert running.wait() == 0
    done, metric, seed, saved = running.lines[-4:]
    assert seed.startswith("seed 0; not reproducible")
    assert re.fullmatch(r"done in \d+ s: version 8 \(.*\)", done)
    assert metric == "accuracy 8.0 %"
    assert saved == "the model is saved in out/model: version 8, the newest (accuracy 0.08)"
    model, _ = read_safetensors((tmp_path / "out" / "model").read_bytes())
    assert model.tolist() == [8.0] * SIZE


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("turnout.gateway.process", "gateway 0"),
        ("turnout.control.process", "control"),
        ("turnout.job.process", "job tiny-[0-9a-f]+"),
        ("turnout fleet", "fleet"),
    ],
)
def test_a_run_survives_the_death_of_a_process_and_says_so_once(tmp_path: Path, command: str, name: str) -> None:
    with run(tmp_path, versions=100) as running:
        pid = running.child(command)
        os.kill(pid, signal.SIGKILL)
        assert running.wait() == 0
    said = [line for line in running.lines if re.search(rf"{name} \(pid {pid}\) was killed by SIGKILL", line)]
    assert len(said) == 1
    assert "starting it again in 0.2 s" in said[0]
    assert (tmp_path / "out" / "model").exists()


def test_a_run_whose_supervisor_is_killed_ends_with_the_reason_and_leaves_nothing(tmp_path: Path) -> None:
    with run(tmp_path, versions=1000) as running:
        pid = running.child("turnout.supervisor.process")
        os.kill(pid, signal.SIGKILL)
        assert running.wait() == 1
    assert running.lines[-1] == (
        f"turnout: supervisor (pid {pid}) was killed by SIGKILL; gateways, control and the job end with it, "
        "so this run ends"
    )


def test_ctrl_c_ends_all_and_says_so(tmp_path: Path) -> None:
    with run(tmp_path, versions=1000) as running:
        running.process.send_signal(signal.SIGINT)
        assert running.wait() == 130
    assert running.lines[-1].startswith("Ctrl-C: the fleet, the job, control and the gateways have ended")


@pytest.mark.parametrize("mode", ["buffered", "sync"])
def test_the_demo_learns_in_both_modes(tmp_path: Path, mode: str) -> None:
    with started(tmp_path, "demo", "--mode", mode, "--devices", "60", "--seed", "3") as running:
        running.wait_line(r"version \d+  accuracy [1-9]\d\.\d % (\(of version \d+\) )?\(trained centrally: 9\d\.\d %\)")
        running.process.send_signal(signal.SIGINT)
        assert running.wait() == 130


def test_nothing_is_left_when_the_run_itself_is_killed(tmp_path: Path) -> None:
    with run(tmp_path, versions=1000) as running:
        running.process.kill()


def test_a_wrong_job_folder_is_one_line(tmp_path: Path) -> None:
    folder = job_folder(tmp_path / "job", versions=0)
    command = [*TURNOUT, "run", str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert "versions" in line
    assert found.stdout == ""
