"""What the functions of a job's server.py are called with, what they may return, and how their mistakes are told."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from turnout.errors import JobFolderError
from turnout.job.hooks import host
from turnout.job.hooks.returned import checked_metrics, not_finite
from turnout.wire.tensors import schema_of, to_safetensors

MODEL = {"w": np.array([1.0, 2.0], np.float32)}


def called(tmp_path: Path, name: str, code: str) -> bytes:
    server = tmp_path / "server.py"
    server.write_text(code)
    host.setup(memoryview(str(server).encode()))
    return host.call(name, memoryview(to_safetensors(MODEL["w"], schema_of(MODEL))))


def evaluate(tmp_path: Path, code: str) -> dict[str, float]:
    return msgspec.msgpack.decode(called(tmp_path, "evaluate", code), type=dict[str, float])


def export(tmp_path: Path, code: str) -> bytes:
    return called(tmp_path, "export", code)


def test_evaluate_gets_the_model_by_name_and_its_metrics_come_back(tmp_path: Path) -> None:
    assert evaluate(tmp_path, "def evaluate(model):\n    return {'sum': model['w'].sum()}") == {"sum": 3.0}


def test_a_file_without_evaluate_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFolderError, match=r"server.py has no function evaluate; add one"):
        evaluate(tmp_path, "pass")


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("0.9", "must return a dict"),
        ("{'loss': 10**400}", "a metric is a finite number"),
        ("{'loss': 'low'}", "a metric is a finite number"),
        ("{7: 1.0}", "the metric name 7; use 1 to 64 printable characters"),
        ("{'\\x1b[31mx': 1.0}", "the metric name '\\\\x1b\\[31mx'; use 1 to 64 printable characters"),
        ("{'x' * 65: 1.0}", "use 1 to 64 printable characters"),
        ("{str(i): 1.0 for i in range(65)}", "at most 64 numbers"),
    ],
)
def test_what_is_no_metric_is_refused(tmp_path: Path, returned: str, told: str) -> None:
    with pytest.raises(JobFolderError, match=told):
        evaluate(tmp_path, f"def evaluate(model):\n    return {returned}")


def test_a_metric_that_is_not_finite_is_a_number_for_a_job_and_refused_in_a_trial(tmp_path: Path) -> None:
    measured = evaluate(tmp_path, "def evaluate(model):\n    return {'loss': float('inf'), 'accuracy': 0.5}")
    assert not_finite(measured) == ["loss"]
    with pytest.raises(JobFolderError, match="evaluate returned loss = inf; a metric is a finite number"):
        checked_metrics(measured)


@pytest.mark.parametrize("made", ["model['w'].tobytes()", "bytearray(model['w'].tobytes())"])
def test_export_gets_the_model_by_name_and_its_bytes_come_back(tmp_path: Path, made: str) -> None:
    assert export(tmp_path, f"def export(model):\n    return {made}") == MODEL["w"].tobytes()


def test_a_file_without_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFolderError, match=r"server.py has no function export; add one"):
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
