"""In CI, a skip that ``skips.toml`` does not list fails the run."""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("skips.toml")


def listed(test: str) -> bool:
    """Whether ``skips.toml`` allows that this test is skipped."""
    return any(test.startswith(entry["test"]) for entry in tomllib.loads(LIST.read_text())["skip"])


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Skips:
    """A plugin of pytest: keeps what was skipped, and judges it when the run ends. Workers of xdist report to it."""

    strict: bool
    unlisted: list[str] = field(default_factory=list)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.strict and self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for test in self.unlisted if self.strict else ():
            terminalreporter.write_line(f"FAILED {test}: skipped, and not listed in {LIST.name}", red=True)

    def _note(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail") and not listed(report.nodeid):
            self.unlisted.append(report.nodeid)


def in_ci() -> bool:
    return os.environ.get("CI", "") not in ("", "0", "false")
