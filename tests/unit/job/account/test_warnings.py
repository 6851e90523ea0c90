"""What people are told once, and what they can look up later."""

import pytest

from turnout.job.account.warnings import WARNINGS_MAX, SavedWarnings, Warnings, sentence
from turnout.messages import Warned


def test_what_differs_in_its_numbers_only_is_one_warning_with_a_count() -> None:
    warnings = Warnings()
    for number in (3, 41, 1_007):
        warnings.add(f"a commit failed: disk full, {number:,} bytes of {number * 1.5} are left at 12:0{number % 10}")
    assert warnings.newest == ["a commit failed (3 times): disk full, 1,007 bytes of 1510.5 are left at 12:07"]


def test_a_warning_says_when_it_came_first_and_last() -> None:
    warnings = Warnings()
    warnings.add("evaluation of version 3 failed")
    warnings.told(at=100.0)
    warnings.add("the disk is slow")
    warnings.told(at=105.0)
    warnings.add("evaluation of version 4 failed")
    warnings.told(at=110.0)
    assert warnings.all() == (
        Warned("the disk is slow", 1, 105.0, 105.0),
        Warned("evaluation of version 4 failed", 2, 100.0, 110.0),
    )


def test_what_goes_on_is_told_less_and_less_often() -> None:
    warnings = Warnings()
    for number in range(1, 101):
        warnings.add(f"failed at {number}: no data")
    assert warnings.told(1.0) == [
        "failed at 1: no data",
        *(f"failed at {number} ({number} times): no data" for number in (2, 4, 8, 16, 32, 64)),
    ]
    warnings.add("failed at 101: no data")
    assert warnings.told(2.0) == []


def test_the_newest_is_the_last_and_the_oldest_go() -> None:
    warnings = Warnings()
    for number in range(WARNINGS_MAX + 1):
        warnings.add(f"warning {'x' * number}")
    warnings.add("warning xx")
    assert len(warnings.newest) == WARNINGS_MAX
    assert (warnings.newest[0], warnings.newest[-1]) == ("warning x", "warning xx (2 times)")


def test_those_of_an_earlier_process_come_before_those_of_this_one() -> None:
    warnings = Warnings()
    warnings.add("this process found its disk slow")
    warnings.load(SavedWarnings((Warned("a commit failed", 2, 1.0, 2.0),)))
    assert warnings.newest == ["a commit failed (2 times)", "this process found its disk slow"]
    warnings.add("a commit failed")
    assert warnings.newest[-1] == "a commit failed (3 times)"


def test_a_warning_of_an_earlier_process_and_of_this_one_is_counted_together() -> None:
    warnings = Warnings()
    warnings.add("a commit failed")
    warnings.told(at=9.0)
    warnings.load(
        SavedWarnings(
            (
                Warned("a commit failed", 2, 1.0, 2.0),
                Warned("the disk is slow"),
            )
        )
    )
    assert warnings.all() == (Warned("the disk is slow"), Warned("a commit failed", 3, 1.0, 9.0))


@pytest.mark.parametrize(
    ("warned", "words"),
    [
        (Warned("the disk is slow"), "the disk is slow"),
        (Warned("the disk is slow", 2), "the disk is slow (2 times)"),
        (Warned("weigh failed: KeyError: 'loss'", 7), "weigh failed (7 times): KeyError: 'loss'"),
    ],
)
def test_the_count_stands_before_the_cause(warned: Warned, words: str) -> None:
    assert sentence(warned) == words
