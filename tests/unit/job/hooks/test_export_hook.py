"""What a job's own export may return, and how its mistakes are told."""

from pathlib import Path

import numpy as np
import pytest

from turnout.errors import JobFolderError
from turnout.job.hooks import export_hook
from turnout.wire.tensors import schema_of, to_safetensors

MODEL = {"w": np.array([1.0, 2.0], np.float32)}


def export(tmp_path: Path, code: str) -> bytes:
    server = tmp_path / "server.py"
    server.write_text(code)
    export_hook.setup(memoryview(str(server).encode()))
    return export_hook.export(memoryview(to_safetensors(MODEL["w"], schema_of(MODEL))))


@pytest.mark.parametrize("made", ["model['w'].tobytes()", "bytearray(model['w'].tobytes())"])
def test_the_hook_gets_the_model_by_name_and_its_bytes_come_back(tmp_path: Path, made: str) -> None:
    assert export(tmp_path, f"def export(model):\n    return {made}") == MODEL["w"].tobytes()


def test_a_file_without_the_function_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFolderError, match=r"server.py has no function export\(model\)"):
        export(tmp_path, "def evaluate(model):\n    return {}")


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("None", "export returned NoneType; expected are the bytes of a .pte file"),
        ("'text'", "export returned str"),
        ("b''", "export returned no bytes"),
        ("bytes(64 * 1024 * 1024 + 1)", "67,108,865 bytes; a device can be sent 67,108,864 at most"),
    ],
)
def test_what_no_device_can_be_sent_is_refused(tmp_path: Path, returned: str, told: str) -> None:
    with pytest.raises(JobFolderError, match=told):
        export(tmp_path, f"def export(model):\n    return {returned}")
