"""The benchmark runs and prints its tables. What it measures is not judged here."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMALL = ["--connections", "1", "--devices", "50", "--seconds", "0.2", "--no-references"]


def test_the_benchmark_measures_every_kind_of_request_and_finds_no_wrong_reply() -> None:
    printed = bench("--parts", "requests", *SMALL)
    for row in ("| 1 | job |", "| 1 | task (granted again) |", "| 1 | task (refused) |", "| 1 | result, "):
        assert row in printed


def test_the_benchmark_measures_results_with_a_journal_on_disk_and_without() -> None:
    printed = bench("--parts", "journals", "--parameters", "1000")
    for row in ("| 1 000 | 512 | durable |", "| 1 000 | 512 | in memory |", "| 1 000 | 1 | write and fsync alone |"):
        assert row in printed


def bench(*options: str) -> str:
    """The page of a run without errors."""
    command = [sys.executable, "-m", "bench", "--quick", *options]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "WRONG" not in found.stdout
    return found.stdout
