"""One job for each form of [wire], trained to its end on a real server by devices of the standard library only."""

import base64
import struct
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.device import JOB_TOML, Device
from tests.end_to_end.server import Server, eventually, server
from turnout.client.view import JobState
from turnout.wire.tensors import read_safetensors

VERSIONS = 3
DEVICES = 4  #: As many as train at once: one that is told to wait keeps its place, and comes back for its task.
MODEL_PY = """
import numpy as np
def initial_model():
    return {"w": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.float32)}
"""
NUMBER_PY = """
import numpy as np
def initial_model():
    return {"value": np.zeros(1, np.float32)}
"""
#: Fails as often as the file "failures" has bytes; notes each file that it made.
SERVER_PY = """
import struct
from pathlib import Path

HERE = Path(__file__).parent

def export(model):
    failures = HERE / "failures"
    if failures.exists() and (left := failures.read_bytes()):
        failures.write_bytes(left[1:])
        raise OSError("no compiler here")
    made = b"PTE" + b"".join(struct.pack("<I", a.size) + a.astype("<f4").tobytes() for _, a in sorted(model.items()))
    with (HERE / "made").open("ab") as file:
        file.write(made + b";")
    return made
"""

Learn = Callable[[dict[str, Any]], dict[str, Any]]


def nested(task_data: dict[str, Any]) -> dict[str, Any]:
    """One more than the model, everywhere."""
    assert task_data["kind"] == "WEIGHTS"
    version = float(task_data["meta"]["model_version"])
    assert task_data["data"] == {"w": [[version] * 3] * 2, "b": [version] * 2}
    return {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [[1.0] * 3] * 2, "b": [1, 1]}, "count": 2}, "meta": {}}


def packed(task_data: dict[str, Any]) -> dict[str, Any]:
    """The same, in base64."""
    result = nested(task_data)
    for name, shape in {"w": [2, 3], "b": [2]}.items():
        numbers = struct.pack("<6f" if name == "w" else "<2f", *[1.0] * (6 if name == "w" else 2))
        text = base64.b64encode(numbers).decode()
        result["data"]["dict"][name] = {"dtype": "F32", "shape": shape, "data_base64": text}
    return result


def one_more(task_data: dict[str, Any]) -> dict[str, Any]:
    """As FLARE's NumProcessor does it."""
    assert task_data["kind"] == "number"
    return {"kind": "number", "data": {"value": task_data["data"]["value"] + 1}, "meta": {}}


def exported(task_data: dict[str, Any]) -> dict[str, Any]:
    """As the SDK of iOS does it."""
    assert isinstance(task_data["data"], str), "iOS takes nothing else"
    meta = task_data["meta"]
    assert task_data["kind"] == "APP_DEFINED"
    assert (meta["model_buffer_type"], meta["model_buffer_encoding"]) == ("executorch", "base64")
    file = base64.b64decode(task_data["data"], validate=True)
    assert file[:3] == b"PTE"
    assert struct.unpack("<I2fI6f", file[3:]) == (2, *[meta["model_version"]] * 2, 6, *[meta["model_version"]] * 6)
    tensors = {
        "net.w": {"data": [1] * 6, "sizes": [2, 3], "strides": [3, 1]},
        "net.b": {"data": [1.0, 1.0], "sizes": [2], "strides": [1]},
    }
    return {"kind": "et_tensor_diff", "data": tensors, "meta": {"training_completed": "true"}}


def simulated(task_data: dict[str, Any]) -> dict[str, Any]:
    """As FLARE's Python simulator and the SDK of Android do: nested lists, no strides, a kind that means nothing."""
    result = exported(task_data)
    tensors = {"w": {"data": [[1.0] * 3] * 2, "sizes": [2, 3]}, "b": {"data": [1.0, 1.0], "sizes": [2]}}
    return {**result, "kind": "number", "data": tensors}


def job_folder(path: Path, form: str, model: str, versions: int = VERSIONS) -> Path:
    path.mkdir()
    (path / "job.toml").write_text(JOB_TOML.format(versions=versions) + f'[wire]\nform = "{form}"\n')
    (path / "model.py").write_text(model)
    if form == "executorch":
        (path / "server.py").write_text(SERVER_PY)
    return path


def train(running: Server, job_id: str, learns: list[Learn]) -> None:
    """Let devices work until the job has ended."""
    number = 0
    eventually("the job answers", lambda: running.client.job(job_id).fresh)

    def done() -> bool:
        nonlocal number
        number += 1
        device = Device(running.devices_url, f"device-{number % DEVICES}")
        task = device.task(job_id)
        if task["status"] == "OK":
            device.report(job_id, task["task_id"], learns[number % len(learns)](task["task_data"]))
        return running.client.job(job_id).state is not JobState.RUNNING

    eventually("the job has ended", done)


@pytest.mark.parametrize(
    ("form", "model", "learns"),
    [
        ("weights", MODEL_PY, [nested, packed]),
        ("number", NUMBER_PY, [one_more]),
        ("executorch", MODEL_PY, [exported, simulated]),
    ],
    ids=["weights", "number", "executorch"],
)
def test_devices_of_each_form_train_a_job_to_its_end(
    tmp_path: Path, form: str, model: str, learns: list[Learn]
) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", form, model))
        train(running, job.job_id, learns)
        assert running.client.model(job.job_id, tmp_path / "model.safetensors") == VERSIONS
        trained, _ = read_safetensors((tmp_path / "model.safetensors").read_bytes())
        assert set(trained.tolist()) == {float(VERSIONS)}
        status = running.client.job(job.job_id).status
        assert status is not None
        assert (status.refused, status.warnings) == ({}, ())


def files(folder: Path, suffix: str) -> set[str]:
    return {file.stem for file in folder.glob(f"*{suffix}")}


@pytest.mark.slow
def test_devices_wait_for_an_export_that_fails_at_first_and_its_file_outlives_the_job_process(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        folder = job_folder(tmp_path / "job", "executorch", MODEL_PY)
        (folder / "failures").write_bytes(b"x")
        job = running.client.submit(folder)
        directory = tmp_path / "data" / "jobs" / job.job_id
        eventually("the first version is exported", lambda: files(directory / "blobs", ".pte"))
        running.kill("turnout.job.process")
        train(running, job.job_id, [exported])
        status = running.client.job(job.job_id).status
        assert status is not None
        assert status.version == VERSIONS
        made = Counter((directory / "folder" / "made").read_bytes().split(b";")[:-1])
        assert set(made.values()) == {1}, "no version was exported twice"
        assert files(directory / "blobs", ".pte") <= files(directory / "blobs", ".safetensors")


@pytest.mark.slow
def test_while_a_version_is_exported_its_devices_are_told_so_and_people_why_it_takes_so_long(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        folder = job_folder(tmp_path / "job", "executorch", MODEL_PY)
        (folder / "failures").write_bytes(b"x" * 100)
        job = running.client.submit(folder)
        device = Device(running.devices_url, "patient")

        def told() -> bool:
            answer = device.task(job.job_id)
            return answer["status"] == "RETRY" and answer.get("message") == "version 0 of the model is being exported"

        eventually("a device is told to wait", told)
        warning = "exporting version 0 failed, and devices wait for it: OSError: no compiler here"
        eventually("people are told", lambda: warning in warnings(running, job.job_id))
        (tmp_path / "data" / "jobs" / job.job_id / "folder" / "failures").unlink()
        eventually("then the device gets its task", lambda: device.task(job.job_id)["status"] == "OK")


def warnings(running: Server, job_id: str) -> tuple[str, ...]:
    status = running.client.job(job_id).status
    return status.warnings if status is not None else ()


def given_task(device: Device, job_id: str) -> dict[str, Any]:
    """Its task; nothing while there is none."""
    task = device.task(job_id)
    return task if task["status"] == "OK" else {}


def test_however_many_examples_a_device_claims_its_lease_caps_them(tmp_path: Path) -> None:
    folder = job_folder(tmp_path / "job", "weights", MODEL_PY, versions=1)
    toml = (folder / "job.toml").read_text().replace("[training]\n", "[training]\nweight_max = 3.0\n")
    (folder / "job.toml").write_text(toml)
    with server(tmp_path / "data") as running:
        job = running.client.submit(folder)
        eventually("the job answers", lambda: running.client.job(job.job_id).fresh)
        for device_id, change, count in (("honest", 4.0, 1), ("boastful", 0.0, 1e9)):
            device = Device(running.devices_url, device_id)
            task = eventually("there is a task", partial(given_task, device, job.job_id))
            update = {"dict": {"w": [[change] * 3] * 2, "b": [change] * 2}, "count": count}
            answer = device.report(job.job_id, task["task_id"], {"kind": "WEIGHT_DIFF", "data": update, "meta": {}})
            assert answer["counted"]
        eventually("completed", lambda: running.client.job(job.job_id).state is JobState.COMPLETED)
        running.client.model(job.job_id, tmp_path / "model.safetensors")
        trained, _ = read_safetensors((tmp_path / "model.safetensors").read_bytes())
        assert set(trained.tolist()) == {1.0}, "(4 * 1 + 0 * 3) / (1 + 3)"
