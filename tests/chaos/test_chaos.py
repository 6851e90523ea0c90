"""A short run of the chaos harness: the long one is ``make chaos``."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.harness import Plan, run
from tests.chaos.report import table

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")]


def test_no_acknowledged_result_is_lost_or_doubled_whatever_is_killed(tmp_path: Path) -> None:
    small = Plan(seed=4, devices=200, goal=16, places=64, staleness_max=12, resend_window_s=2.0)
    plan = replace(small, kills_min=6, each_min=1, acknowledged_min=500, pause_max_s=0.3)
    outcome = run(plan, tmp_path, print)
    print(table(outcome))  # shown when the test fails
    assert outcome.holds
    assert outcome.acknowledged >= 500
    assert outcome.forgotten > 0, "of some tasks only the sums tell"
