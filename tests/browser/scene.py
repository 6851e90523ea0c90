"""A real server with a job in every state that a page has to show, for ``pictures.py``: not a test."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.device import SIZE
from tests.end_to_end.server import PATIENCE_S, TURNOUT, Server, descendants, processes, server
from tests.end_to_end.test_run import DEVICE_PY
from turnout.client.view import JobView

DEMO = Path(__file__).parents[2] / "src/turnout/demo/folder"
TRAINED_VERSIONS = 40  #: Of the job that is looked at: its lines have a shape by then.
WAIT_S_MAX = 240.0
LONG_NAME = "next-word-prediction-for-keyboards-of-tablets"
PLAIN = """
name = "{name}"
[training]
workflow = "{workflow}"
{training}
[pacing]
wait_min_s = 0.2
wait_max_s = 2.0
[leases]
min_s = 1.0
[stop]
versions = {versions}
"""
BUFFERED = 'concurrency = 4\nbuffer_goal = 2\nstaleness = { discount = "constant" }'
ROUNDS = "cohort = 20\ndeadline_s = 2\nround_extensions_max = 1"
DIGITS = {  #: What is changed of the demo's job, so that it goes on, with slower devices.
    "concurrency = 250": "concurrency = 60",
    "buffer_goal = 40": "buffer_goal = 20",
    "max_s = 4": "max_s = 30",
    "[evaluation]": '[evaluation]\nmetric = "accuracy"',
    "versions = 140": "versions = 100000",
    "time_s = 300": "",
}
NUMBERS_LARGE = 100_000  #: Of a model of which a disk budget of a few megabytes holds some.


class Scene:
    """The jobs of a server by what they show."""

    def __init__(self, running: Server, place: Path) -> None:
        self.running = running
        self.jobs: dict[str, str] = {}
        self._place = place
        self._fleets: list[subprocess.Popen[bytes]] = []

    def set(self) -> None:
        """Bring about every state; it takes a few minutes."""
        self._digits("training", "digits", 2.0)
        self._digits("compared", "digits-careful", 0.3)
        self._plain("finished", "warm-up", versions=12, devices=5)
        self._plain("waiting", LONG_NAME)
        self._plain("paused", "wake-word", devices=6)
        self._plain("short of devices", "small-talk", workflow="rounds", devices=3)
        self._plain("full", "heart-rate", numbers=NUMBERS_LARGE, disk=1_900_000, devices=4)
        self._plain("failed", "gestures", devices=4)
        self._plain("cancelled", "first-try", devices=4)
        self._wait("finished", lambda view: view.state == "completed")
        self._wait("cancelled", lambda view: version(view) > 3)
        self._wait("failed", lambda view: version(view) > 3)
        self._wait("paused", lambda view: version(view) > 3)
        self.running.client.pause(self.jobs["paused"])
        self.running.client.cancel(self.jobs["cancelled"])
        self._damage(self.jobs["failed"])
        self._wait("training", lambda view: version(view) >= TRAINED_VERSIONS)

    def close(self) -> None:
        for fleet in self._fleets:
            fleet.terminate()
        for fleet in self._fleets:
            fleet.wait(PATIENCE_S)

    def _digits(self, what: str, name: str, learning_rate: float) -> None:
        folder = self._place / name
        shutil.copytree(DEMO, folder)
        text = (folder / "buffered.toml").read_text()
        for before, after in {**DIGITS, '"digits"': f'"{name}"', "= 2.0": f"= {learning_rate}"}.items():
            assert before in text
            text = text.replace(before, after)
        (folder / "job.toml").write_text(text)
        self._submit(what, folder)
        self._fleet(name, folder, 150, "--dropout", "0.02", "--training-s", "3", "--training-sigma", "0.6")

    def _plain(
        self,
        what: str,
        name: str,
        *,
        workflow: str = "buffered",
        versions: int = 100_000,
        numbers: int = SIZE,
        disk: int = 0,
        devices: int = 0,
    ) -> None:
        folder = self._place / name
        folder.mkdir()
        training = ROUNDS if workflow == "rounds" else BUFFERED
        text = PLAIN.format(name=name, workflow=workflow, training=training, versions=versions)
        (folder / "job.toml").write_text(text + (f"[disk]\nbytes_max = {disk}\n" if disk else ""))
        model = f"import numpy as np\ndef initial_model():\n    return {{'w': np.zeros({numbers}, np.float32)}}\n"
        (folder / "model.py").write_text(model)
        (folder / "device.py").write_text(DEVICE_PY.replace(f"np.ones({SIZE}", f"np.ones({numbers}"))
        self._submit(what, folder)
        if devices:
            self._fleet(name, folder, devices, "--training-s", "0.5")

    def _submit(self, what: str, folder: Path) -> None:
        self.jobs[what] = self.running.client.submit(folder).job_id

    def _fleet(self, name: str, folder: Path, devices: int, *options: str) -> None:
        command = [
            *TURNOUT,
            "fleet",
            self.running.devices_url,
            "--job",
            name,
            "--trainer",
            str(folder),
            "--workers",
            "1",
        ]
        command += ["--devices", str(devices), *options]
        self._fleets.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def _damage(self, job_id: str) -> None:
        """Let the job's disk fail under it."""
        process = self.process(job_id)
        os.kill(process, signal.SIGSTOP)
        journal = self._place / "data/jobs" / job_id / "journal.sqlite"
        for file in journal.parent.glob("journal.sqlite*"):
            file.write_bytes(b"\0" * 10_000)
        os.kill(process, signal.SIGKILL)

    def process(self, job_id: str) -> int:
        """The process of a job."""
        (pid,) = [
            pid for pid in descendants(self.running.pid) if f"--job-id {job_id}" in processes().get(pid, (0, ""))[1]
        ]
        return pid

    def _wait(self, what: str, holds: Callable[[JobView], bool]) -> None:
        give_up_at = time.monotonic() + WAIT_S_MAX
        while not holds(self.running.client.job(self.jobs[what])):
            assert time.monotonic() < give_up_at, f"the job that shall be {what} never was"
            time.sleep(0.2)


def version(view: JobView) -> int:
    return view.status.version if view.status else 0


@contextmanager
def scene(place: Path) -> Iterator[Scene]:
    """A server in this folder, and everything that runs against it, until the block ends."""
    with server(place / "data") as running:
        scene = Scene(running, place)
        try:
            yield scene
        finally:
            scene.close()
