"""What jobs print is kept, within bounds, and never makes the supervisor wait."""

import re
from pathlib import Path

from turnout.supervisor.joblog import JobLogs


def test_lines_are_kept_with_their_time(tmp_path: Path) -> None:
    logs = JobLogs()
    logs.add(tmp_path / "log.txt", "one")
    logs.add(tmp_path / "log.txt", "two")
    logs.close(10.0)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", "", line) for line in lines] == ["one", "two"]


def test_a_job_without_a_directory_has_no_log_and_others_do(tmp_path: Path) -> None:
    logs = JobLogs()
    logs.add(tmp_path / "deleted" / "log.txt", "late")
    logs.add(tmp_path / "log.txt", "here")
    logs.close(10.0)
    assert (tmp_path / "log.txt").read_text().endswith(" here\n")
