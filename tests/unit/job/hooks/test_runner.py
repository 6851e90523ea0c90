"""Which process a function of server.py runs in."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from turnout.job.hooks.runner import HookRunner
from turnout.wire.tensors import schema_of, to_safetensors

pytestmark = pytest.mark.anyio

SERVER_PY = """
import os

def evaluate(model):
    return {"pid": os.getpid()}

def export(model):
    return str(os.getpid()).encode()

def select(device):
    return os.getpid()

def weigh(result):
    return os.getpid()
"""
MODEL = {"w": np.zeros(1, np.float32)}


async def test_each_function_has_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER_PY)
    runner = HookRunner(tmp_path / "server.py")
    model, facts = to_safetensors(MODEL["w"], schema_of(MODEL)), msgspec.msgpack.encode([{}])
    try:
        selecting, weighing = [
            msgspec.msgpack.decode(await runner.run(name, facts, 60.0), type=list[float])
            for name in ("select", "weigh")
        ]
        evaluating = msgspec.msgpack.decode(await runner.run("evaluate", model, 60.0))["pid"]
        exporting = int(await runner.run("export", model, 60.0))
    finally:
        await runner.close()
    assert len({*selecting, *weighing, evaluating, exporting}) == 4
