"""What a job's own evaluation may return, and how its mistakes are told."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from turnout.errors import JobFolderError
from turnout.job.hooks import evaluate_hook
from turnout.wire.tensors import schema_of, to_safetensors

MODEL = {"w": np.array([1.0, 2.0], np.float32)}


def evaluate(tmp_path: Path, code: str) -> dict[str, float]:
    server = tmp_path / "server.py"
    server.write_text(code)
    evaluate_hook.setup(memoryview(str(server).encode()))
    data = to_safetensors(MODEL["w"], schema_of(MODEL))
    return msgspec.msgpack.decode(evaluate_hook.evaluate(memoryview(data)), type=dict[str, float])


def test_the_hook_gets_the_model_by_name_and_its_metrics_come_back(tmp_path: Path) -> None:
    assert evaluate(tmp_path, "def evaluate(model):\n    return {'sum': model['w'].sum()}") == {"sum": 3.0}


def test_a_file_without_the_function_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFolderError, match=r"server.py has no function evaluate\(model\)"):
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
    assert evaluate_hook.not_finite(measured) == ["loss"]
    with pytest.raises(JobFolderError, match="evaluate returned loss = inf; a metric is a finite number"):
        evaluate_hook.checked_metrics(measured)
