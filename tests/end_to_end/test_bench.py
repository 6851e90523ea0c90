"""The benchmark runs and prints its tables. What it measures is not judged here."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMALL = ["--connections", "1", "--devices", "50", "--seconds", "0.2", "--no-references"]


def test_the_benchmark_measures_every_kind_of_request_and_finds_no_wrong_reply() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", *SMALL], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "WRONG" not in found.stdout
    for row in ("| 1 | job |", "| 1 | task (granted again) |", "| 1 | task (refused) |", "| 1 | result, "):
        assert row in found.stdout
