"""Every sentence about FLARE is held by a test, or stands in docs/PROTOCOL.md with the reason why we differ."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.contract.flare.quirks import QUIRKS, covers

TESTS = Path(__file__).parents[2]
PROTOCOL = TESTS.parent / "docs" / "PROTOCOL.md"
HOLES = 28
NO_TIERS = "there are no leaves and parents, so nobody reports to anybody"
#: Holes that no test can hold us against, as we have nothing of the kind, and why.
NOT_OURS = {
    "hole-11b": NO_TIERS,
    "hole-12": NO_TIERS,
    "hole-15": NO_TIERS,
    "hole-25": "it is FLARE's simulator that is slow; ours is another program",
    "hole-26": "there is no map: any gateway serves any device",
    "hole-28": "a job folder is data and its model's code; no site has to allow it",
}


def covered_in(path: Path) -> Iterator[tuple[str, str]]:
    """The ids that tests of a file say they cover, with the test."""
    for test in ast.walk(ast.parse(path.read_text())):
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in test.decorator_list:
                for quirk in _ids(decorator):
                    yield quirk, test.name


def _ids(decorator: ast.expr) -> list[str]:
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Name):
        return []
    if decorator.func.id != covers.__name__:
        return []
    return [str(ast.literal_eval(argument)) for argument in decorator.args]


@cache
def covered() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        if "covers(" in path.read_text():
            for quirk, test in covered_in(path):
                found.setdefault(quirk, set()).add(test)
    return found


def explained() -> set[str]:
    """The ids in the first column of the tables of PROTOCOL.md."""
    first_columns = re.findall(r"^\| (`[^|]*) \|", PROTOCOL.read_text(), re.MULTILINE)
    return {quirk for column in first_columns for quirk in re.findall(r"`([a-z]+[/-][^`]+)`", column)}


@pytest.mark.parametrize("quirk", QUIRKS)
def test_every_sentence_is_covered_or_explained(quirk: str) -> None:
    assert quirk in covered() or quirk in explained(), QUIRKS[quirk]


def test_tests_and_docs_name_no_unknown_sentence() -> None:
    assert covered().keys() <= QUIRKS.keys()
    assert explained() <= QUIRKS.keys()


def test_covering_tests_are_tests() -> None:
    assert not [test for tests in covered().values() for test in tests if not test.startswith("test_")]


def test_no_hole_is_left_out() -> None:
    holes = {quirk for quirk in QUIRKS if quirk.startswith("hole-")}
    assert {f"hole-{number:02}" for number in range(1, HOLES + 1)} <= holes
    assert holes - covered().keys() == NOT_OURS.keys(), "a test holds each that can be ours"
    assert NOT_OURS.keys() <= explained()


def test_an_unknown_sentence_is_refused_where_it_is_named() -> None:
    with pytest.raises(AssertionError, match="hole-99"):
        covers("hole-99")
