"""The simulation finds no violation in the real parts, and finds every broken one."""

from collections import Counter

import pytest

from tests.sim.mutants import MUTANTS
from turnout.sim.books import Violation
from turnout.sim.world import Builders, World

SEEDS = 200  #: Per test. ``python -m turnout.sim --count 2000`` runs more.
CRASHES = ("staged", "committing", "closing", "committed, unanswered", "recovering", "idle", "journal not readable")
TROUBLE = (
    "duplicates",
    "refused",
    "commits: FAILED",
    "commits: DOUBTFUL",
    "gateway crashes",
    "hangs",
    "fenced processes",
    "forged",
    "poison refused",
)


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_no_seed_makes_the_system_break_a_promise(first: int) -> None:
    for seed in range(first, first + 20):
        World(seed).run()


def test_the_weather_is_bad_enough_to_mean_something() -> None:
    """Over a few seeds, all kinds of trouble happen at every moment, and results are counted all the same."""
    totals: Counter[str] = Counter()
    for seed in range(60):
        totals.update(World(seed).run())
    for what in ("counted", "versions", *TROUBLE, *(f"crashes: {moment}" for moment in CRASHES)):
        assert totals[what] >= 5, (what, totals)


def test_the_same_seed_gives_the_same_world() -> None:
    assert World(3).run() == World(3).run()


@pytest.mark.parametrize("wrong", MUTANTS)
def test_a_part_that(wrong: str) -> None:
    """... is found out within 200 seeds."""
    assert found(MUTANTS[wrong]) is not None, f"no seed below {SEEDS} finds a part that {wrong}"


def found(builders: Builders) -> int | None:
    """The first seed whose world breaks a promise."""
    for seed in range(SEEDS):
        try:
            World(seed, builders).run()
        except Violation:
            return seed
    return None
