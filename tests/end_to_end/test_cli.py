"""The command line as a person meets it: real commands, a real server, and each wrong turn with its way out."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.end_to_end.server import PATIENCE_S, TURNOUT, Server, eventually, server
from turnout.client.view import JobState, JobView

pytestmark = pytest.mark.slow


DEVICES = "8"


def turnout(
    *arguments: str, url: str = "", token: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    variables = {"TURNOUT_URL": url, "TURNOUT_TOKEN": token}
    inherited = {name: value for name, value in os.environ.items() if name not in variables}
    return subprocess.run(
        [*TURNOUT, *arguments],
        cwd=cwd,
        env={**inherited, **{name: value for name, value in variables.items() if value}},
        capture_output=True,
        text=True,
        check=False,
        timeout=3 * PATIENCE_S,
    )


def made(folder: Path, versions: int) -> Path:
    """A folder as ``turnout new`` writes it, with another end and small enough for a few devices."""
    assert turnout("new", str(folder), "--name", "lines").returncode == 0
    settings = folder / "job.toml"
    text = settings.read_text().replace("versions = 20\n", f"versions = {versions}\n")
    settings.write_text(text.replace("buffer_goal = 10\n", "buffer_goal = 4\n"))
    return folder


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Server]:
    with server(tmp_path / "data") as started:
        yield started


class Fleet:
    """A few devices that train the job of a folder until the test ends."""

    def __init__(self, running: Server, folder: Path) -> None:
        options = ["--job", "lines", "--trainer", str(folder), "--devices", DEVICES, "--training-s", "0.05"]
        command = [*TURNOUT, "fleet", running.devices_url, *options, "--workers", "1"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)


def test_a_new_folder_runs_as_it_is(tmp_path: Path) -> None:
    written = turnout("new", "my-job", cwd=tmp_path)
    assert written.stdout.splitlines() == [
        "my-job holds job.toml, model.py, device.py, server.py",
        "look at it:      turnout check my-job",
        "train it here:   turnout run my-job",
    ]
    checked = turnout("check", "my-job", cwd=tmp_path)
    assert checked.stdout.splitlines()[-1] == "it can be run: turnout run my-job"
    ran = turnout("run", "my-job", "--devices", "12", "--training-s", "0.05", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    ended = json.loads(ran.stdout)
    assert (ended["state"], ended["version"], ended["model"]) == ("completed", 20, "my-job.safetensors")
    assert ended["metrics"]["accuracy"] > 0.8
    assert (tmp_path / "my-job.safetensors").exists()


def test_a_job_is_watched_to_its_end_and_its_models_are_saved(tmp_path: Path, running: Server) -> None:
    folder = made(tmp_path / "job", versions=6)
    url = running.api_url
    submitted = msgspec.json.decode(turnout("submit", str(folder), "--json", url=url).stdout, type=JobView)
    with Fleet(running, folder):
        watched = turnout("watch", "lines", url=url)
    assert watched.returncode == 0, watched.stderr
    assert "completed: version 6" in watched.stdout.splitlines()[-2]
    shown = turnout("show", submitted.job_id[:-3], url=url)
    assert "state       completed" in shown.stdout.splitlines()
    listed = json.loads(turnout("jobs", "--json", "--server", url).stdout)
    assert [(job["job_id"], job["state"]) for job in listed] == [(submitted.job_id, "completed")]
    for version, form in (("newest", "safetensors"), ("best", "npz")):
        file = tmp_path / f"model.{form}"
        saved = turnout("model", "lines", "--version", version, "--format", form, "--out", str(file), url=url)
        assert saved.returncode == 0, saved.stderr
    with np.load(tmp_path / "model.npz") as arrays:
        assert {name: arrays[name].shape for name in arrays} == {"weights": (2,), "bias": (1,)}
    assert turnout("backup", "lines", str(tmp_path / "copy"), url=url).returncode == 0
    assert turnout("restore", "lines", str(tmp_path / "copy"), "--json", url=url).returncode == 0


def test_a_job_is_paused_resumed_and_cancelled(tmp_path: Path, running: Server) -> None:
    folder = made(tmp_path / "job", versions=100_000)
    url = running.api_url
    assert turnout("submit", str(folder), url=url).returncode == 0
    (job,) = running.client.jobs()
    eventually("the job answers", lambda: running.client.job(job.job_id).fresh)
    assert "turnout resume lines-" in turnout("pause", "lines", url=url).stdout
    assert "state       paused" in turnout("show", "lines", url=url).stdout
    assert "is resumed" in turnout("resume", "lines", url=url).stdout
    watching = subprocess.Popen(
        [*TURNOUT, "watch", "lines", "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    said, errors = watching.communicate(timeout=PATIENCE_S)
    assert (watching.returncode, errors) == (130, "")
    assert said.splitlines()[-1].startswith("the job continues; watch it again with: turnout watch lines-")
    assert turnout("cancel", "lines", url=url).returncode == 0
    eventually("cancelled", lambda: running.client.job(job.job_id).state is JobState.CANCELLED)
    watched = turnout("watch", "lines", url=url)
    assert watched.returncode == 3
    assert "is being started" in turnout("start", "lines", url=url).stdout
    assert "only a cancelled or failed job" in turnout("start", "lines", url=url).stderr
    eventually("it answers again", lambda: running.client.job(job.job_id).fresh)
    formerly = turnout("abort", "lines", url=url)
    assert (formerly.returncode, formerly.stderr.split(";")[0]) == (0, "turnout abort is now turnout cancel")
    eventually("cancelled again", lambda: running.client.job(job.job_id).state is JobState.CANCELLED)
    assert f"turnout delete {job.job_id}" in turnout("delete", "lines", url=url).stderr
    assert json.loads(turnout("delete", job.job_id, "--json", url=url).stdout) == {"job_id": job.job_id}
    assert turnout("jobs", url=url).stdout.startswith("no jobs yet")


def test_the_owner_needs_no_token_and_others_have_what_their_scope_says(running: Server) -> None:
    url = running.api_url
    assert turnout("token", "list", url=url).stdout.startswith("there are no tokens but the owner's")
    made = turnout("token", "create", "me", "--scope", "admin", url=url)
    assert "can run code as the account of the server" in made.stderr
    viewer = json.loads(turnout("token", "create", "page", "--json", url=url, token=made.stdout.strip()).stdout)[
        "token"
    ]
    assert turnout("jobs", url=url, token=viewer).returncode == 0
    for token, words in (
        (viewer, "needs a token with the scope admin"),
        ("turnout_wrong", "unknown here"),
    ):
        refused = turnout("token", "list", url=url, token=token)
        (line,) = refused.stderr.splitlines()
        assert refused.returncode == 1
        assert words in line
        assert "TURNOUT_TOKEN" in line
    assert "no token" in turnout("token", "revoke", "nix", url=url).stderr
    listed = json.loads(turnout("token", "list", "--json", url=url).stdout)
    assert [(token["name"], token["scope"], token["token"]) for token in listed] == [
        ("me", "admin", ""),
        ("page", "view", ""),
    ]
    assert turnout("token", "revoke", listed[1]["token_id"], url=url).returncode == 0
    assert turnout("jobs", url=url, token=viewer).returncode == 1


def test_a_link_to_the_dashboard_is_printed_for_who_may_ask(running: Server) -> None:
    link = turnout("open", url=running.api_url).stdout.strip()
    assert link.startswith(f"{running.api_url}/#/login/owner.")
    assert turnout("open", url=running.api_url, token="turnout_wrong").returncode == 1


def test_commands_find_the_only_server_of_the_account_without_a_word(running: Server) -> None:
    assert turnout("jobs").returncode == 0
    assert turnout("open").stdout.startswith(running.api_url)


def test_each_wrong_turn_at_a_server_is_one_line_and_a_way_out(tmp_path: Path, running: Server) -> None:
    url = running.api_url
    bad = made(tmp_path / "bad", versions=5)
    (bad / "job.toml").write_text('name = "x"\n[stop]\nversion = 3\n')
    good = made(tmp_path / "good", versions=100_000)
    job_id = json.loads(turnout("submit", str(good), "--json", url=url).stdout)["job_id"]
    port, control_port = url.rpartition(":")[2], str(running.port)
    wrong_turns = [
        (("show", "lnes"), 2, f"did you mean {job_id}? turnout jobs lists them"),
        (("model", "nothing-like-it"), 2, "turnout jobs lists them"),
        (("model", "lines", "--version", "99"), 1, "version 99 is not kept"),
        (("model", "lines", "--version", "last"), 2, "give newest, best, or a number"),
        (("submit", str(bad)), 2, 'did you mean "versions"?'),
        (("submit", str(tmp_path / "missing")), 2, "no such folder"),
        (("restore", "lines", str(tmp_path / "missing")), 2, "give one that turnout backup has written"),
        (("restore", "lines", str(good / "job.toml")), 1, f"turnout cancel {job_id} ends it"),
        (
            ("up", "--port", "0", "--control-port", port, "--data", str(tmp_path / "x")),
            1,
            "another with --control-port",
        ),
        (("up", "--port", control_port, "--data", str(tmp_path / "x")), 1, "turnout runs on it already"),
        (("jobs", "--url", running.devices_url), 1, "is it the API of turnout?"),
    ]
    for arguments, code, words in wrong_turns:
        found = turnout(*arguments, url=url)
        assert found.stderr.count("\n") == 1, (arguments, found.stderr)
        assert words in found.stderr, arguments
        assert (found.returncode, found.stdout) == (code, ""), arguments


def test_the_logs_of_a_job_are_what_its_code_prints(tmp_path: Path, running: Server) -> None:
    folder = made(tmp_path / "job", versions=100_000)
    with (folder / "server.py").open("a") as code:
        code.write("\nprint('hello from server.py')\n")
    url = running.api_url
    assert turnout("submit", str(folder), url=url).returncode == 0
    (job,) = running.client.jobs()
    eventually("it is in the log", lambda: running.client.logs(job.job_id, 1))
    assert "hello from server.py" in turnout("logs", "lines", url=url).stdout
    line = json.loads(turnout("logs", "lines", "--lines", "1", "--json", url=url).stdout)
    assert "hello from server.py" in line["line"]
    following, interrupted = (
        subprocess.Popen(
            [*TURNOUT, "logs", "lines", "--follow", "--url", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    )
    for process in (following, interrupted):
        assert process.stdout is not None
        assert "hello from server.py" in process.stdout.readline()
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.communicate(timeout=PATIENCE_S)[1] == "turnout: interrupted\n"
    assert interrupted.returncode == 130
    assert turnout("cancel", "lines", url=url).returncode == 0
    following.communicate(timeout=PATIENCE_S)
    assert following.returncode == 0
