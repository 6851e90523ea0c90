"""docs/REFERENCE.md is what the code says."""

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
from turnout.job.core import states

SRC = Path(__file__).parents[2] / "src" / "turnout"
WRITTEN = reference.PAGE.read_text()


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
    assert set(reference_words.STATES_OF_CORE) == set(metrics.OWN_STATES) == set(states.ALL_WORDS)


def test_every_environment_variable_has_words() -> None:
    pattern = re.compile(r'"((?:TURNOUT|XDG)_[A-Z_]+)"')
    used = {name for path in SRC.rglob("*.py") for name in pattern.findall(path.read_text())}
    assert used == set(reference_words.ENVIRONMENT)
