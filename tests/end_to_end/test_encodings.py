"""No command ends in a traceback on a terminal that lacks the characters of what it prints."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.device import job_folder
from tests.end_to_end.server import TURNOUT, server

pytestmark = pytest.mark.slow


NAME = "snöw ☃ 𝄞"


@pytest.mark.parametrize("encoding", ["ascii:strict", "cp1252"])
def test_commands_about_a_job_with_a_name_of_many_alphabets_print_it(tmp_path: Path, encoding: str) -> None:
    folder = job_folder(tmp_path / NAME, versions=1000)
    toml = (folder / "job.toml").read_text(encoding="utf-8")
    (folder / "job.toml").write_text(toml.replace('"tiny"', f'"{NAME}"'), encoding="utf-8")
    with server(tmp_path / "data") as running:
        env = {**os.environ, "PYTHONIOENCODING": encoding, "TURNOUT_URL": running.api_url}
        env["TURNOUT_TOKEN"] = running.token
        for command in (
            ("submit", str(folder)),
            *(("check", str(folder)), ("jobs",), ("jobs", "--json"), ("show", NAME), ("show", NAME, "--json")),
            *(("pause", NAME), ("resume", NAME), ("logs", NAME), ("cancel", NAME), ("show", "☃")),
        ):
            found = subprocess.run([*TURNOUT, *command], env=env, capture_output=True, check=False, timeout=60)
            assert b"Traceback" not in found.stderr, found.stderr.decode()
            assert found.returncode == (2 if "☃" in command else 0), (command, found.stderr)
