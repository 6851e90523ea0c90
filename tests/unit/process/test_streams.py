"""What is printed, into whatever there is at the other end."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from turnout.process.streams import escaped

COMMAND = [sys.executable, "-m", "turnout"]
ENCODINGS: list[dict[str, str]] = [
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "cp1252"},
]


def run(
    *arguments: str, env: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        preexec_fn=before,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("env", ENCODINGS, ids=str)
def test_what_the_encoding_lacks_is_escaped_and_json_stays_json(env: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "snöw ☃ 𝄞"
    found = run("new", str(folder), "--name", "snow", "--json", env=env)
    assert (found.returncode, found.stderr) == (0, b"")
    encoding = env.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    assert json.loads(found.stdout.decode(encoding))["folder"] == str(folder)
    for wrong in (("check", str(tmp_path / "☃")), ("☃",), ("show", "☃", "--server", "http://127.0.0.1:9")):
        told = run(*wrong, env=env)
        assert told.returncode in (1, 2)
        assert told.stderr.startswith(b"turnout: "), told.stderr
        assert told.stderr.count(b"\n") == 1, told.stderr


def test_a_file_name_that_is_no_text_can_be_printed(tmp_path: Path) -> None:
    found = run("check", os.fsdecode(b"no\xfftext"))
    assert found.returncode == 2
    assert found.stderr.startswith(rb"turnout: no\udcfftext: no such folder")


@pytest.mark.parametrize(
    "command", [("new", "no\udcfftext"), ("show", "no\udcfftext", "--server", "http://127.0.0.1:9")]
)
def test_an_argument_that_is_no_text_is_one_line(command: tuple[str, ...], tmp_path: Path) -> None:
    found = run(*command)
    assert found.returncode in (1, 2)
    assert found.stderr.startswith(b"turnout: ")
    assert found.stderr.count(b"\n") == 1


def test_characters_beyond_16_bits_are_two_escapes_as_json_has_them() -> None:
    text = "a𝄞b"
    assert escaped(UnicodeEncodeError("ascii", text, 1, 2, "")) == (r"\ud834\udd1e", 2)
    assert json.loads(rf'"{escaped(UnicodeEncodeError("ascii", text, 1, 2, ""))[0]}"') == "𝄞"


def test_bytes_that_are_no_text_stay_an_error() -> None:
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "")
    with pytest.raises(UnicodeDecodeError):
        escaped(error)


def test_a_reader_that_is_gone_ends_a_command_in_silence() -> None:
    read, write = os.pipe()
    os.close(read)
    found = subprocess.run([*COMMAND, "--help"], stdout=write, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(write)
    assert (found.returncode, found.stderr) == (1, b"")


def test_a_wrong_turn_with_nobody_to_read_of_it_keeps_its_exit_code() -> None:
    read, write = os.pipe()
    os.close(read)
    found = subprocess.run([*COMMAND, "bogus"], stdout=subprocess.PIPE, stderr=write, check=False, timeout=60)
    os.close(write)
    assert (found.returncode, found.stdout) == (2, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_does_not_fit_the_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        found = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (found.returncode, found.stderr) == (1, b"turnout: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_a_command_works_with_standard_streams_closed(closed: tuple[int, ...], tmp_path: Path) -> None:
    """Closed in the child, after subprocess has set them up."""
    code = f"""
import os, sys
for fd in {closed}: os.close(fd)
os.execv(sys.executable, {[*COMMAND, "new", str(tmp_path / "job")]})
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert (found.returncode, found.stderr) == (0, b"")
    assert (tmp_path / "job" / "job.toml").exists()


def test_closed_streams_are_open_on_nothing_and_children_inherit_them() -> None:
    code = """
import os, subprocess, sys
out = os.dup(1)
for fd in (0, 1, 2): os.close(fd)
sys.stdin = sys.stdout = sys.stderr = None
from turnout.process import streams
streams.prepare()
print("seen by nobody", flush=True)
child = "import os; null = os.stat(os.devnull); same = [os.path.samestat(os.fstat(fd), null) for fd in (0, 1, 2)]"
subprocess.run([sys.executable, "-c", child + "; os.write(%d, repr(same).encode())" % out], pass_fds=(out,))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (found.stdout, found.stderr) == ("[True, True, True]", "")
