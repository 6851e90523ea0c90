"""The running median of norms: where it begins, what moves it, and how far."""

import math
from random import Random

import numpy as np
import pytest

from turnout.aggregator.typical import FAR, GUESS_MAX, LEARNED, TypicalNorm

ONE = np.zeros(1, np.float32)


def test_it_begins_as_if_every_parameter_moved_by_one_or_the_model_by_its_own_norm() -> None:
    assert TypicalNorm.of(np.zeros(4, np.float32), None).median == 2.0
    assert TypicalNorm.of(np.array([3, 4, 0, 0], np.float32), None).median == 5.0 + 2.0


def test_it_begins_with_what_a_person_says() -> None:
    assert TypicalNorm.of(ONE, 1e6).norm_max == pytest.approx(1e6)
    assert TypicalNorm.of(ONE, 0.5).norm_max == 100.0, "which update_norm_max itself bounds more"


@pytest.mark.parametrize("norm", [1e-3, 50.0])
def test_it_goes_to_the_norms_of_a_job_wherever_it_began(norm: float) -> None:
    typical = TypicalNorm.of(ONE, None)
    for _ in range(300):
        typical.take(norm)
    assert typical.median == pytest.approx(norm, rel=0.06)


def test_fewer_than_half_cannot_move_it_beyond_the_norms_of_the_others() -> None:
    """A third sends as much as is taken each time; of the others the largest norm is 2."""
    typical, rng = TypicalNorm.of(ONE, None), Random(1)
    for _ in range(5000):
        typical.take(typical.norm_max if rng.random() < 1 / 3 else rng.uniform(1.0, 2.0))
    assert 1.0 < typical.median < 2.5
    for _ in range(5000):
        typical.take(1e-30 if rng.random() < 1 / 3 else rng.uniform(1.0, 2.0))
    assert 0.8 < typical.median < 2.0


def test_updates_of_zeros_do_not_lower_it() -> None:
    typical = TypicalNorm.of(ONE, None)
    for _ in range(1000):
        typical.take(0.0)
    assert (typical.median, typical.taken) == (1.0, 0)


def test_a_job_of_larger_updates_than_guessed_is_soon_taken() -> None:
    """At 1000 times the bound of the beginning, as of a model of prices in cents; each refusal raises the guess."""
    typical = TypicalNorm.of(ONE, None)
    refused = 0
    while typical.norm_max < 1e5:
        typical.refuse()
        refused += 1
    assert refused == 139


def test_no_number_of_refused_updates_raises_the_guess_beyond_its_bound_nor_once_something_is_learned() -> None:
    typical = TypicalNorm.of(ONE, None)
    for _ in range(100_000):
        typical.refuse()
    assert typical.norm_max == FAR * GUESS_MAX
    learned = TypicalNorm.of(ONE, None)
    for _ in range(LEARNED):
        learned.take(1.0)
    before = learned.median
    for _ in range(100_000):
        learned.refuse()
    assert learned.median == before


def test_it_survives_a_restart() -> None:
    typical, again = TypicalNorm.of(ONE, None), TypicalNorm.of(ONE, None)
    for _ in range(30):
        typical.take(math.pi)
    again.restore(typical.snapshot())
    assert again.snapshot() == typical.snapshot()
    again.restore(None)
    assert again.snapshot() == (1.0, 0)
