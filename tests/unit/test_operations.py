"""docs/OPERATIONS.md and the files it names speak of messages and metrics that exist."""

import ast
import re
from pathlib import Path

import pytest

from turnout.control import metrics
from turnout.process.environment import JOB_BEGINNINGS, JOB_NAMES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "OPERATIONS.md").read_text()
ALERTS = (ROOT / "examples" / "deploy" / "alerts.yml").read_text()
TABLE = PAGE.partition("| it says |")[2]


def quoted() -> list[str]:
    """The messages in the first column: what is in backticks and is more than a word."""
    cells = re.findall(r"^\| (.*?) \|", TABLE, re.MULTILINE)
    return [text for cell in cells for text in re.findall(r"`([^`]+)`", cell) if " " in text]


def said() -> str:
    """All text in the source of the program, an expression in it as one …."""
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"{.*?}", "…", node.value))
    return "\n".join(found)


SAID = said()


@pytest.mark.parametrize("message", quoted())
def test_every_message_that_the_page_quotes_is_one_that_the_program_says(message: str) -> None:
    for part in message.split("…"):
        assert part.strip(" :;,.") in SAID, part


def test_the_page_lists_what_a_job_sees_of_the_environment() -> None:
    paragraph = PAGE.partition("A job's code does not see the environment")[2].partition("\n\n")[0]
    listed = set(re.findall(r"`([A-Z_]+)`", paragraph))
    assert listed == JOB_NAMES | set(JOB_BEGINNINGS)


def test_the_page_quotes_messages() -> None:
    assert len(quoted()) > 10


def test_alerts_are_about_metrics_and_states_that_there_are() -> None:
    known = {metric.name for metric in metrics.ALL}
    named = set(re.findall(r"\bturnout_\w+", ALERTS)) - {"turnout_alerts"}
    assert named
    assert named <= known


def test_every_file_for_a_deployment_is_on_the_page() -> None:
    for file in (ROOT / "examples" / "deploy").iterdir():
        assert f"../examples/deploy/{file.name}" in PAGE, file.name
