"""The states of a job, the table of what leads from one to the next, and what people are told of them."""

import pytest
from tools import states as drawing

from turnout.job.core import states
from turnout.job.core.states import (
    TABLE,
    WORDS,
    Closing,
    Draining,
    End,
    Happened,
    InvalidTransition,
    Kind,
    Life,
    Open,
    Over,
    Recovering,
)


def reached(first: type[Life]) -> set[type[Life]]:
    found, new = {first}, {first}
    while new:
        new = {after for (before, _), all_after in TABLE.items() if before in new for after in all_after} - found
        found |= new
    return found


def test_every_state_is_reached_and_every_state_leads_to_the_end() -> None:
    assert reached(Recovering) == set(WORDS)
    assert all(Over in reached(state) for state in WORDS)
    assert reached(Over) == {Over}


def test_every_happening_leads_somewhere() -> None:
    assert {happened for _, happened in TABLE} == set(Happened)


def test_an_ending_job_never_opens_again() -> None:
    assert Open not in reached(Draining)


def test_an_arrow_of_the_table_is_taken_and_no_other() -> None:
    assert states.moved(Open(), Happened.CLOSED, Closing(3)) == Closing(3)
    with pytest.raises(InvalidTransition, match=r'"its commit is durable" does not lead from Open\(\) to Closing'):
        states.moved(Open(), Happened.COMMITTED, Closing(3))


def test_what_a_disk_does_not_take_is_told_before_a_pause_and_an_end_before_both() -> None:
    end = End(Kind.CANCELLED, "enough")
    assert states.word(Open(), paused=False, full=False) == "OPEN"
    assert states.word(Open(), paused=True, full=False) == "PAUSED"
    assert states.word(Open(), paused=True, full=True) == "FULL"
    assert states.word(Closing(1), paused=False, full=False) == "OPEN"
    assert states.word(Closing(1, end), paused=True, full=True) == "ENDING"
    assert states.word(Over(end, durable=True), paused=False, full=True) == "ENDED"


def test_the_drawing_in_the_docs_is_what_the_tables_say() -> None:
    """When this fails: make reference."""
    assert drawing.page() == drawing.PAGE.read_text(), "docs/ARCHITECTURE.md shows other states: make reference"
