"""FLARE's own device simulator trains with ``turnout up`` to the end of a job.

It goes over HTTP and over gRPC, with TLS and without; not over FLARE's routing proxy, behind which results were lost
when the machine was busy. The job of numbers and the simulator's configuration are those of docs/FLARE.md, but for the
ports.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.end_to_end.server import Server, eventually, server
from tests.flare.page import block
from turnout.client.view import JobState

SIMULATOR = [sys.executable, "-m", "nvflare.edge.simulation.run_device_simulator"]
SIMULATION_S = 90.0  #: Ends a simulator that would go on for ever; it takes seven seconds, or a deadline more.
NUMBERS_TOML = block("toml", "numbers")
NOWHERE = "http://nowhere.invalid"  #: Where HTTP shall lead when the simulator is to use gRPC.
AUTHORITY = "authority.pem"  #: Who signed the server's certificate, where there is TLS.
VERSIONS = 4
COHORT = 2

WEIGHTS_PY = """
import numpy as np

def initial_model():
    return {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "conv.bias": np.ones(2, np.float32)}
"""


@pytest.mark.parametrize("over", ["http", "grpc", "http+tls", "grpc+tls"])
def test_flares_numbers_are_counted_to_the_end_of_a_job(tmp_path: Path, over: str) -> None:
    """FLARE's NumProcessor answers with the new number, one more: after V versions it is V."""
    folder = job_folder(tmp_path, NUMBERS_TOML, block("python", "initial_model"))

    model = simulated(tmp_path, folder, over, json.loads(block("json", "NumProcessor"))["processor"])

    assert {name: value.tolist() for name, value in model.items()} == {"value": [4.0]}


@pytest.mark.parametrize("over", ["http", "grpc"])
def test_a_model_of_numpy_arrays_is_trained_to_the_end_of_a_job(tmp_path: Path, over: str) -> None:
    """Each device adds one half to every number, so each version is one half more: two after four versions."""
    folder = job_folder(tmp_path, NUMBERS_TOML.replace('form = "number"', 'form = "weights"'), WEIGHTS_PY)
    (folder / "device_config.json").write_text('{"rate": 0.5}')
    processor = {"path": "adds_half.AddsHalf", "python_path": str(Path(__file__).parent)}

    model = simulated(tmp_path, folder, over, processor)

    assert {name: value.tolist() for name, value in model.items()} == {
        "conv.weight": [[2.0, 3.0, 4.0], [5.0, 6.0, 7.0]],
        "conv.bias": [3.0, 3.0],
    }


def job_folder(path: Path, toml: str, model: str) -> Path:
    assert f"cohort = {COHORT} " in toml
    assert f"versions = {VERSIONS}\n" in toml
    folder = path / "job"
    folder.mkdir()
    (folder / "job.toml").write_text(toml)
    (folder / "model.py").write_text(model)
    return folder


def simulated(path: Path, folder: Path, over: str, processor: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Run FLARE's simulator until it ends by itself, and see that the job has ended well; its last model."""
    protocol, _, tls = over.partition("+")
    options = [*(["--grpc-port", "0"] if protocol == "grpc" else []), *(certificate(path) if tls else [])]
    with server(path / "data", options=options) as running:
        assert running.devices_url.startswith("https:" if tls else "http:")
        job = running.client.submit(folder)
        if protocol == "http":
            play(path, running.devices_url, processor)
        else:
            (path / "leaf_clients.json").write_text(json.dumps(leaf_clients(running)))
            trusted = ["-c", str(path / AUTHORITY)] if tls else []
            play(path, NOWHERE, processor, "-m", str(path / "leaf_clients.json"), *trusted)
        eventually("it has ended", lambda: running.client.job(job.job_id).state is not JobState.RUNNING)
        ended = running.client.job(job.job_id)
        assert ended.state is JobState.COMPLETED
        assert ended.status is not None
        assert ended.status.version == VERSIONS
        assert (ended.status.counted, ended.status.refused) == (VERSIONS * COHORT, {})
        assert running.client.model(job.job_id, path / "model.safetensors") == VERSIONS
    return load_file(path / "model.safetensors")


def certificate(path: Path) -> list[str]:
    """The options for a certificate of this machine, by the authority in ``AUTHORITY``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(path / AUTHORITY)
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(path / "key.pem")
    (path / "cert.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return ["--tls-cert", str(path / "cert.pem"), "--tls-key", str(path / "key.pem")]


def leaf_clients(running: Server) -> dict[str, Any]:
    """The server as FLARE's tools know it: the only leaf client."""
    line = eventually("the port for gRPC", lambda: next((line for line in running.lines if "gRPC" in line), ""))
    known = json.loads(block("json", '"turnout": {'))
    known["turnout"]["port"] = int(re.findall(r":(\d+)", line)[-1])
    return known


def play(path: Path, endpoint: str, processor: dict[str, Any], *arguments: str) -> None:
    simulator = json.loads(block("json", "NumProcessor"))
    simulator.update(endpoint=endpoint, processor=processor)
    (path / "simulator.json").write_text(json.dumps(simulator))
    trusting = {"REQUESTS_CA_BUNDLE": str(path / AUTHORITY)} if (path / AUTHORITY).exists() else {}  # FLARE's HTTP
    ran = subprocess.run(
        [*SIMULATOR, str(path / "simulator.json"), *arguments],
        env={**os.environ, **trusting},
        timeout=SIMULATION_S,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    print(ran.stdout)
    assert ran.returncode == 0
    assert "is gone - exiting" in ran.stdout, "it ends with the job, not for a failure"
