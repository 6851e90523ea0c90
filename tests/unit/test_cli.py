"""The command line: quick to answer, and one clear line for each wrong turn."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

HEAVY = ("numpy", "scipy", "starlette", "uvicorn", "rich.live", "turnout.control.api")


def turnout(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "turnout", *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def test_help_names_every_command_and_the_exit_codes() -> None:
    found = turnout("--help")
    assert found.returncode == 0
    for command in ("demo", "up", "run", "submit", "jobs", "cancel", "resume", "model", "fleet", "130 Ctrl-C"):
        assert command in found.stdout


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
sys.argv = ["turnout", "--help"]
from turnout.cli import main
try:
    main()
finally:
    print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert found.stderr.split() == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("jobs", "--server", "http://127.0.0.1:9"), 1, "start a server with: turnout up"),
        (("jobs", "--server", "ftp://x"), 2, "expected is one like http://127.0.0.1:8711"),
        (("jobs", "--url", "http://x:99999"), 2, "invalid port in"),
        (("fleet", "ftp://x", "--job", "x", "--untrained"), 2, "expected is one like http://127.0.0.1:8710"),
        (("up", "--port", "9000", "--control-port", "9000"), 2, "--port and --control-port are both 9000"),
        (("up", "--port", "9000", "--grpc-port", "9000"), 2, "--port and --grpc-port are both 9000"),
        (("tokn",), 2, 'Unknown command "tokn". Did you mean token? Commands: '),
        (("token", "lst"), 2, 'Unknown command "lst". Did you mean list? Commands: create, list, revoke'),
        (("--bogus",), 2, 'Unknown option "--bogus". Commands: '),
        (("submit", "missing"), 2, "no such folder"),
        (("up", "--port", "70000"), 2, "--port 70000 is not valid"),
        (("up", "--gateways", "0"), 2, "--gateways 0 is too few"),
        (("up", "--tls-cert", "no.pem", "--tls-key", "no.pem"), 1, "--tls-cert no.pem cannot be read: No such file"),
        (("up", "--tls-cert", "no.pem"), 2, "--tls-cert and --tls-key belong together"),
        (("up", "--grpc-port", "70000"), 2, "--grpc-port 70000 is not valid"),
        (("run", "missing"), 2, "no such folder"),
        (("show",), 2, "JOB is missing. See: turnout show --help"),
        (("fleet", "http://127.0.0.1:9"), 2, "parameter --job requires an argument"),
        (("demo", "--devices", "0"), 2, "--devices 0 is too few"),
        (("fleet", "http://127.0.0.1:9", "--job", "x", "--trainer", "y", "--dropout", "1"), 2, "dropout is 1.0"),
    ],
)
def test_each_wrong_turn_is_one_line_and_a_way_out(arguments: tuple[str, ...], code: int, words: str) -> None:
    found = turnout(*arguments)
    (line,) = found.stderr.splitlines()
    assert line.startswith("turnout: ")
    assert words in line
    assert (found.returncode, found.stdout) == (code, "")


@pytest.mark.parametrize("arguments", [("bogus",), ("up", "--bogus"), ("demo", "--mode", "x"), ("submit",)])
def test_arguments_that_do_not_exist_are_explained(arguments: tuple[str, ...]) -> None:
    found = turnout(*arguments)
    assert found.returncode == 2
    assert "Traceback" not in found.stderr + found.stdout


def test_a_folder_without_job_toml_is_no_job_folder(tmp_path: Path) -> None:
    found = turnout("submit", str(tmp_path))
    assert (found.returncode, found.stderr) == (
        2,
        f"turnout: {tmp_path} has no job.toml, so it is not a job folder\n",
    )


def test_the_version_and_the_help_are_there_under_the_names_that_other_tools_have() -> None:
    version = turnout("--version").stdout
    assert version.strip()
    for arguments in (("-V",), ("version",)):
        assert turnout(*arguments).stdout == version
    for arguments, same in ((("help",), ("--help",)), (("help", "token", "list"), ("token", "list", "--help"))):
        assert turnout(*arguments).stdout == turnout(*same).stdout != ""


def test_nothing_far_away_is_suggested_and_all_commands_are_listed() -> None:
    said = turnout("bogus").stderr
    assert "Did you mean" not in said
    for command in ("demo", "doctor", "up", "submit", "restore", "completion"):
        assert f" {command}" in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_every_command(shell: str) -> None:
    found = turnout("completion", shell)
    assert found.returncode == 0
    for word in ("doctor", "restore", "revoke", "control-port"):
        assert word in found.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=found.stdout, text=True, check=True, timeout=30)


def test_a_folder_with_a_space_in_its_name_is_quoted_where_it_is_to_be_typed(tmp_path: Path) -> None:
    lines = turnout("new", str(tmp_path / "my job!")).stdout.splitlines()
    assert lines[1].endswith(f"turnout check '{tmp_path}/my job!'")
    assert lines[2].endswith(f"turnout run '{tmp_path}/my job!'")
    assert turnout("check", "--no-trial", str(tmp_path / "my job!")).stdout.endswith(
        f"turnout run '{tmp_path}/my job!'\n"
    )


def test_check_answers_in_json_also_of_what_is_no_job_folder(tmp_path: Path) -> None:
    found = turnout("check", "--json", str(tmp_path / "none"))
    assert found.returncode == 2
    assert "no such folder" in json.loads(found.stdout)["error"]
    assert found.stderr.startswith("turnout: ")


def test_a_server_does_not_start_on_the_data_of_a_newer_turnout_and_changes_nothing(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "control.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    before = (tmp_path / "control.sqlite").read_bytes()
    found = turnout("up", "--port", "0", "--control-port", "0", "--data", str(tmp_path))
    assert (found.returncode, found.stdout) == (1, "")
    (line,) = found.stderr.splitlines()
    assert "was written by a newer turnout (schema 99" in line
    assert "update turnout" in line
    assert [path.name for path in tmp_path.iterdir()] == ["control.sqlite"]
    assert (tmp_path / "control.sqlite").read_bytes() == before
