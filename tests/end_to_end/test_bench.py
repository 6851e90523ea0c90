"""The benchmark runs and prints its tables. What it measures is not judged here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bench.check import worse
from bench.durability import JournalCell
from bench.load import Outcome
from bench.section import Line, Report, load, save
from bench.table import Cell

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMALL = ["--connections", "1", "--devices", "50", "--seconds", "0.2", "--no-references"]


def test_the_benchmark_measures_every_kind_of_request_and_finds_no_wrong_reply() -> None:
    printed = bench("requests", *SMALL)
    for row in ("| 1 | job |", "| 1 | task (granted again) |", "| 1 | task (refused) |", "| 1 | result, "):
        assert row in printed


def test_the_benchmark_measures_results_with_a_journal_on_disk_and_without() -> None:
    printed = bench("journals", "--parameters", "1000")
    for row in ("| 1 000 | 512 | durable |", "| 1 000 | 512 | in memory |", "| 1 000 | 1 | write and fsync alone |"):
        assert row in printed


def test_the_benchmark_plays_a_fleet_of_which_the_journal_counts_every_device() -> None:
    printed = bench("million", "--fleet-devices", "200")
    ways = {"1024 kept-alive connections, shared": 200, "a TCP connection for each device": 200}
    if shutil.which("openssl") is not None:
        ways["a TLS connection for each device"] = 20
    for way, devices in ways.items():
        assert f"| {way} | {devices} | {devices} | 0 |" in printed


@pytest.mark.parametrize(
    ("section", "row"),
    [
        ("models", "| 1 000 000 parameters: result, JSON |"),
        ("sums", "| check and add, 1 000 000 parameters |"),
        ("jobs", "| 16 jobs, and one that hangs |"),
        ("tail", "| beside 200 slow ones |"),
        ("idle", "| known devices |"),
        ("startup", "| the install |"),
    ],
)
def test_each_section_runs_by_its_name(section: str, row: str) -> None:
    assert row in bench(section)


def test_a_ratio_that_fell_by_more_than_a_fifth_is_named() -> None:
    before, now = ([Line("saxpy", {}, {"of memcpy": ratio, "of itself": 1.0})] for ratio in (0.5, 0.3))
    reports = (Report("sums", "2026-11-23", "abc", "here", {}, lines=lines) for lines in (before, now))
    assert worse(*reports) == ["sums: saxpy: of memcpy is 0.3, and was 0.5 (2026-11-23, commit abc)"]


def test_a_report_that_was_kept_is_read_as_it_was(tmp_path: Path) -> None:
    outcome = Outcome(10, 1.0, 2.0, 3.0, 0, "", {7: 0.5})
    cells = [Cell("Results", "result", 64, 1, outcome, {"job": 0.5})]
    waves = [JournalCell("Results", "durable", 64, 1, outcome, {"job": 0.5}, 4096, 2)]
    report = Report(
        "sums", "2026-11-23", "abc", "here", {}, cells=cells, journal_cells=waves, lines=[Line("a", {"b": 1.0})]
    )
    save(report, tmp_path)
    assert load("sums", tmp_path) == report


def bench(*options: str) -> str:
    """The page of a run without errors."""
    command = [sys.executable, "-m", "bench", "--quick", *options]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert found.returncode == 0, found.stderr
    assert "WRONG" not in found.stdout
    return found.stdout
