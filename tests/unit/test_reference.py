"""docs/REFERENCE.md is what the code says."""

import ast
import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from tools import reference, reference_words

from turnout.cli import server_toml
from turnout.client.view import JobState
from turnout.control import metrics
from turnout.gateway.settings import Limits

SRC = Path(__file__).parents[2] / "src" / "turnout"
WRITTEN = reference.PAGE.read_text()
HIDDEN_STATES = {"COMMITTING"}  #: Shown as OPEN.


def test_the_page_is_what_the_code_says() -> None:
    """When this fails: make reference."""
    assert reference.page() == WRITTEN, "docs/REFERENCE.md is not what the code says: make reference"


def test_the_sample_of_server_toml_has_every_setting_and_can_be_read() -> None:
    """When this fails: make reference."""
    assert reference.sample() == reference.SAMPLE.read_text()
    assert server_toml.read(reference.SAMPLE) == server_toml.ServerFile(data="/var/lib/turnout")
    commented_out = re.sub(r"^#(\w+ = )", r"\1", reference.sample(), flags=re.MULTILINE)
    found = tomllib.loads(commented_out)
    assert set(found["limits"]) == {field.name for field in msgspec.structs.fields(Limits)}


@pytest.mark.parametrize("field", ["retry_wait", "duplicate", "buffer_goal", "round_extensions_max", "idle_timeout_s"])
def test_the_page_has_what_people_look_for(field: str) -> None:
    assert f"| `{field}` |" in WRITTEN


def test_every_state_of_a_job_has_words() -> None:
    assert set(reference_words.JOB_STATES) == set(JobState)
    core = ast.parse((SRC / "job" / "core" / "standing.py").read_text())
    (state,) = (node for node in ast.walk(core) if isinstance(node, ast.FunctionDef) and node.name == "state")
    returned = {
        each.value
        for node in ast.walk(state)
        if isinstance(node, ast.Return) and node.value is not None
        for each in ast.walk(node.value)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }
    assert set(reference_words.STATES_OF_CORE) == set(metrics.OWN_STATES) == returned - HIDDEN_STATES


def test_every_environment_variable_has_words() -> None:
    pattern = re.compile(r'"((?:TURNOUT|XDG)_[A-Z_]+)"')
    used = {name for path in SRC.rglob("*.py") for name in pattern.findall(path.read_text())}
    assert used == set(reference_words.ENVIRONMENT)
