"""The table of the walk in docs/ARCHITECTURE.md. ``make lint`` counts anew; here nothing is measured."""

import re

import pytest
from tools.walk import BEGIN, BUDGETS, END, LONGEST_MAX, NAMES, P90_MAX, PAGE, Walk, too_much


def made() -> str:
    """What the tool wrote into the page."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


@pytest.mark.parametrize("kind", BUDGETS)
def test_the_page_shows_a_walk_within_its_budget(kind: str) -> None:
    row = re.search(re.escape(f"| {NAMES[kind]} |") + r" (\d+) \| (\d+) \| (\d+) \| \d+ \|", made())
    assert row is not None
    files, functions, calls = map(int, row.groups())
    budget = BUDGETS[kind]
    assert files <= budget.files
    assert functions <= budget.functions
    assert calls <= budget.calls


def test_the_page_shows_functions_within_their_bounds() -> None:
    found = re.search(r"nine in ten at most (\d+), and the longest has (\d+)", made())
    assert found is not None
    assert int(found[1]) <= P90_MAX
    assert int(found[2]) <= LONGEST_MAX


def test_a_walk_beyond_its_budget_is_told() -> None:
    budget = BUDGETS["task"]
    within = Walk(tuple(("core.py", f"f{number}") for number in range(budget.functions)))
    beyond = Walk((*within.path, ("core.py", "one_more")))
    assert too_much({"task": within, "result": within}, [(1, "core.py:f0")]) == []
    assert too_much({"task": beyond, "result": within}, [(1, "core.py:f0")]) == [
        f"task: {budget.functions + 1} functions, allowed are {budget.functions}"
    ]


def test_a_function_that_is_too_long_is_told() -> None:
    within = Walk((("core.py", "f"),))
    sizes = [(LONGEST_MAX + 1, "core.py:f"), *((1, "core.py:g"),) * 20]
    assert too_much({"task": within, "result": within}, sizes) == [
        f"core.py:f has {LONGEST_MAX + 1} lines, allowed are {LONGEST_MAX}"
    ]
