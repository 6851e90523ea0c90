"""The lower bounds that pyproject.toml declares hold: installed at exactly these, turnout trains a model."""

import os
import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?P<kind>>=|==)(?P<bound>[0-9.]+)(;.*)?")
#: What people choose to install; that of torch is gigabytes.
EXTRAS = ("dashboard", "grpc", "tensorboard", "mlflow")
USE_EXTRAS = "import grpc, mlflow, plotly, tensorboardX, turnout.gateway.grpc, turnout.tracking.mlflow"
#: Older releases have no wheels for newer interpreters.
OLDEST = f"{sys.version_info.major}.{sys.version_info.minor}" == PROJECT["requires-python"].removeprefix(">=")
TIMEOUT_S = 300.0

fresh = pytest.mark.skipif(not os.environ.get("TURNOUT_FRESH_INSTALL"), reason="installs from the network")
oldest = pytest.mark.skipif(not OLDEST, reason="the oldest dependencies are for the oldest Python")


def at_bounds(requirements: Iterable[str]) -> list[str]:
    """Each requirement at its lower bound: a bound of three numbers is that release, of two its newest patch."""
    found = []
    for requirement in requirements:
        parts = REQUIREMENT.fullmatch(requirement.replace(" ", ""))
        assert parts is not None, requirement
        exact = parts["kind"] == "==" or parts["bound"].count(".") == 2
        found.append(f"{parts['name']}=={parts['bound']}{'' if exact else '.*'}{parts[4] or ''}")
    return found


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )


@pytest.fixture
def python(tmp_path: Path) -> str:
    """The interpreter of a new environment."""
    venv.create(tmp_path / "env", with_pip=True)
    return str(tmp_path / "env" / "bin" / "python")


def install(python: str, *requirements: str) -> None:
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:")
    done = run(python, *pip, *requirements)
    assert done.returncode == 0, done.stderr


def test_every_dependency_has_a_lower_bound() -> None:
    groups = PROJECT["optional-dependencies"]
    assert all(at_bounds(group) for group in (PROJECT["dependencies"], *groups.values()))
    assert at_bounds(["a>=1.2", "b-c>=0.7.1", "d>=0.21; sys_platform != 'win32'", "e==2.9.0"]) == [
        "a==1.2.*", "b-c==0.7.1", "d==0.21.*;sys_platform!='win32'", "e==2.9.0",
    ]  # fmt: skip


@fresh
@oldest
def test_a_job_trains_with_every_dependency_and_extra_at_its_lower_bound(tmp_path: Path, python: str) -> None:
    extras = [each for extra in EXTRAS for each in PROJECT["optional-dependencies"][extra]]
    install(python, *at_bounds(PROJECT["dependencies"]), *at_bounds(extras))
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    ours = {"PYTHONPATH": str(ROOT / "src"), "XDG_RUNTIME_DIR": str(runtime), "HOME": str(tmp_path)}
    job = tmp_path / "job"
    made = run(python, "-m", "turnout", "new", str(job), **ours)
    assert made.returncode == 0, made.stderr
    settings = (job / "job.toml").read_text()
    (job / "job.toml").write_text(re.sub(r"(?m)^versions = \d+", "versions = 3", settings))
    model = str(tmp_path / "model.safetensors")
    for command in (["check", str(job)], ["run", str(job), "--devices", "30", "--out", model]):
        done = run(python, "-m", "turnout", *command, **ours)
        assert done.returncode == 0, done.stdout + done.stderr
    used = run(python, "-c", USE_EXTRAS, **ours)
    assert used.returncode == 0, used.stderr


@fresh
@oldest
@pytest.mark.parametrize("group", ["test", "lint"])
def test_what_developers_install_can_be_had_at_its_lower_bounds(python: str, group: str) -> None:
    install(python, "--dry-run", *at_bounds(PROJECT["optional-dependencies"][group]))
