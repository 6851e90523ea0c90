"""Warnings of a job: the newest, each once."""

from turnout.job.warnings import WARNINGS_MAX, Warnings


def test_what_fails_again_and_again_is_said_once() -> None:
    warnings = Warnings()
    for _ in range(3):
        warnings.add("the disk is full")
    assert warnings.newest == ["the disk is full"]
    assert warnings.untold() == ["the disk is full"]
    warnings.add("the disk is full")
    assert warnings.untold() == []


def test_a_warning_that_comes_again_after_another_is_the_newest_and_told_again() -> None:
    warnings = Warnings()
    for text in ("the disk is full", "evaluating failed", "the disk is full"):
        warnings.add(text)
    assert warnings.newest == ["evaluating failed", "the disk is full"]
    assert warnings.untold() == ["the disk is full", "evaluating failed", "the disk is full"]


def test_only_so_many_are_kept() -> None:
    warnings = Warnings()
    for number in range(WARNINGS_MAX + 1):
        warnings.add(f"warning {number}")
    assert (len(warnings.newest), warnings.newest[0]) == (WARNINGS_MAX, "warning 1")
