"""Draws the states of a job into docs/ARCHITECTURE.md, from the tables that the job goes by: ``make reference``."""

import sys
from collections.abc import Iterator
from pathlib import Path

from turnout.job.core import states

PAGE = Path(__file__).parents[1] / "docs" / "ARCHITECTURE.md"
BEGIN, END = "<!-- states: made by python -m tools.states -->", "<!-- end of states -->"


def drawn() -> str:
    """The drawing of both machines, and what people and devices meet in each state."""
    return "\n".join([BEGIN, *_life(), "", *_words(), "", *_commits(), END])


def _life() -> Iterator[str]:
    yield from ("```mermaid", "stateDiagram-v2", "    [*] --> Recovering")
    for (before, happened), after in states.TABLE.items():
        yield from (f"    {before.__name__} --> {each.__name__}: {happened.value}" for each in after)
    yield from ("    Over --> [*]", "```")


def _words() -> Iterator[str]:
    yield "| state | people see | a request for a task | a result | means |"
    yield "|---|---|---|---|---|"
    for state, shown in states.WORDS.items():
        also = [("paused", shown.paused), ("disk full", shown.full), ("end decided", shown.ending)]
        words = [f"`{shown.word}`", *(f"{when}: `{word}`" for when, word in also if word)]
        meaning = " ".join((state.__doc__ or "").split()).replace("``", "`")
        yield f"| {state.__name__} | {'; '.join(words)} | {shown.tasks} | {shown.results} | {meaning} |"


def _commits() -> Iterator[str]:
    yield from ("```mermaid", "stateDiagram-v2", "    [*] --> Idle")
    yield from (
        f"    {before.__name__} --> {after.__name__}: {happened.value}"
        for (before, happened), after in states.COMMITS.items()
    )
    yield "```"


def page() -> str:
    """The page with the drawing as it should be."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + drawn() + after


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"written: {PAGE}", file=sys.stderr)
