"""A job's own code measures a model in a process of its own; what it says reaches the core as a number, or as none."""

from pathlib import Path

import pytest

from tests.unit.job.test_process import write_folder
from turnout.job.core.events import Evaluated
from turnout.job.folder.folder import load_job_folder
from turnout.job.hooks.evaluator import Evaluator
from turnout.job.hooks.runner import HookRunner
from turnout.job.workflow.evaluation import Evaluate

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("{'loss': 0.5}", Evaluated(3, {"loss": 0.5})),
        (
            "{'loss': float('nan')}",
            Evaluated(3, None, "evaluate returned loss = nan; a metric is a finite number", ["loss"]),
        ),
    ],
)
async def test_a_metric_that_is_not_finite_is_named(tmp_path: Path, returned: str, expected: Evaluated) -> None:
    code = f"def evaluate(model):\n    return {returned}\n"
    folder = load_job_folder(write_folder(tmp_path / "folder", **{"server.py": code}))
    assert folder.server is not None
    runner = HookRunner(folder.server)
    evaluator = Evaluator.of(folder, runner)
    assert evaluator is not None
    assert await evaluator.measure(Evaluate(3, folder.model)) == expected
    await runner.close()
