"""Retired words do not come back where people read: one word for one act, as docs/GLOSSARY.md has it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.test_help import COMMANDS

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "turnout"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: A retired word, and what is said instead.
RETIRED = {
    r"\babort(s|ed|ing)?\b": "cancel when a person ends a job, fail when it ends short of its stop rule",
    r"\b(go|goes|went) on\b": "continue, resume",
    r"\bmend(s|ed)?\b": "fix",
    r"\bso many\b": "a number, at most",
    r"\bso long\b(?! as)": "for this long",
    r"\bof use\b": "ready",
    r"\bwhoever\b": "the device, client or person that",
    r"\bfor want of\b": "because there is not enough",
    r"(?<![Tt]here )\bis no (?!longer\b|more\b|less\b)": "is not a",
    r"\bsign of life\b": "heartbeat",
}
#: Where a retired word is somebody else's, or says what it was replaced by.
EXCEPTIONS = {
    ("API.md", "`/abort` is the former name"),
}
RETIRED_NAMES = re.compile(r"[Aa]bort|HELPLESS|CANNOT_GO_ON")
THEIRS = {"abort", "_abort"}  #: As asyncio calls the end of a transport, and the former names of cancel.


def found(text: str) -> Iterator[str]:
    for pattern, instead in RETIRED.items():
        for match in re.finditer(pattern, text, re.IGNORECASE):
            around = text[max(0, match.start() - 40) : match.end() + 40].replace("\n", " ")
            yield f'"{match[0]}" in "...{around}...": say {instead}'


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_no_retired_words(page: Path) -> None:
    text = page.read_text()
    for name, excepted in EXCEPTIONS:
        if name == page.name:
            assert excepted in text, "this exception can go"
            text = text.replace(excepted, "")
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)  # what the program or FLARE says
    assert list(found(text)) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_no_retired_words(name: str) -> None:
    command = COMMANDS[name]
    texts = [command.help, *(option.parameter.help or "" for option in command.assemble_argument_collection())]
    assert [each for text in texts for each in found(str(text))] == []


def test_the_api_has_no_retired_words() -> None:
    text = "\n".join(path.read_text() for path in sorted((SRC / "control" / "routes").glob("*.py")))
    told = re.findall(r'"(?:GET|POST|DELETE)", "(/[^"]+)", self\.\w+,\s*"([^"]+)"', text)
    assert len(told) > 15
    for path, summary in told:
        if path != "/api/jobs/{job_id}/abort":  # answered until 0.3
            assert [*found(path), *found(summary)] == []


def test_names_of_classes_and_functions_have_no_retired_words() -> None:
    for path in SRC.rglob("*.py"):
        if path.name == "nvflare.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in THEIRS:
                assert not RETIRED_NAMES.search(node.name), f"{path}: {node.name}"
