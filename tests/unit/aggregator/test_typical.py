"""The median of norms: where the bound begins, what moves it, and how far."""

from random import Random

import msgspec
import numpy as np
import pytest

from turnout.aggregator.typical import FAR, FEW, FIRST, STUCK, Norms, TypicalNorm

ONE = np.zeros(1, np.float32)


def taken(*norms: float, norm_max: float | None = None) -> TypicalNorm:
    """What a job of one parameter, 0, has learned of these."""
    typical = TypicalNorm.of(ONE, norm_max)
    for norm in norms:
        typical.take(norm)
    return typical


def test_the_first_update_may_be_the_models_norm_or_one_of_each_parameter_or_100() -> None:
    assert TypicalNorm.of(np.array([300, 400], np.float32), None).norm_max == 500.0
    assert TypicalNorm.of(np.zeros(40_000, np.float32), None).norm_max == 200.0
    assert TypicalNorm.of(ONE, None).norm_max == 100.0


def test_the_median_of_the_first_norms_is_exact_and_bounds_from_the_fifth_on() -> None:
    assert [taken(*[0.5, 0.1, 90.0, 0.2, 0.3, 0.4][:many]).norm_max for many in range(7)] == [
        100.0, 100.0, 100.0, 100.0, 100.0, pytest.approx(30.0), pytest.approx(30.0),
    ]  # fmt: skip
    assert taken(*range(1, FIRST + 1)).median == 16.0


def test_the_bound_of_a_large_model_is_soon_that_of_its_honest_updates() -> None:
    """Of 200,000 parameters and norms of 2: at first 224 times honest, and 100 times after five."""
    typical = TypicalNorm.of(np.zeros(200_000, np.float32), None)
    assert typical.norm_max == pytest.approx(447.2, abs=0.1)
    for _ in range(FEW):
        typical.take(2.0)
    assert typical.norm_max == 200.0


def test_one_that_comes_first_and_sends_as_much_as_is_taken_moves_no_bound() -> None:
    typical = TypicalNorm.of(ONE, None)
    for honest in (1.0, 1.0, 2.0, 2.0):
        typical.take(typical.norm_max)
        typical.take(honest)
        assert typical.norm_max <= 200.0


def test_strangers_alone_raise_no_bound_while_the_median_is_learned() -> None:
    typical = TypicalNorm.of(ONE, None)
    for _ in range(FIRST - 1):
        assert typical.norm_max == 100.0
        typical.take(typical.norm_max)


@pytest.mark.parametrize("norm", [1e-3, 50.0])
def test_it_follows_the_norms_of_a_job_as_they_grow_and_fall(norm: float) -> None:
    typical = taken(*[1.0] * FIRST)
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
    typical = taken(*[0.0] * 1000)
    assert (typical.norm_max, typical.taken) == (100.0, 0)


def test_what_a_person_says_is_the_least_that_the_bound_is_at_any_time_and_after_a_restart() -> None:
    again = TypicalNorm.of(ONE, 1e5)
    again.load(taken(*[2.0] * 300).save())
    assert again.norm_max == 1e5
    assert taken(*[2.0] * 300, norm_max=1e5).norm_max == 1e5
    assert taken(*[2.0] * FIRST, norm_max=0.5).norm_max == 200.0


@pytest.mark.parametrize("learned", [0, FEW, FIRST, 300])
def test_no_number_of_refused_updates_raises_the_bound_above_the_first(learned: int) -> None:
    typical = taken(*[50.0] * learned)
    before = typical.norm_max
    for _ in range(100_000):
        typical.refuse()
    assert typical.norm_max == before


@pytest.mark.parametrize("first", [FEW, FIRST, 300])
def test_first_senders_of_next_to_nothing_shut_nobody_out_for_good(first: int) -> None:
    """They hold the bound at 1e-28; when nothing else was taken of a hundred, it begins again."""
    typical = taken(*[1e-30] * first)
    for _ in range(STUCK - 1):
        typical.refuse()
    assert typical.norm_max < 1e-20
    typical.refuse()
    assert typical.norm_max == 100.0
    for _ in range(FIRST):
        typical.take(1.0)
    assert typical.norm_max == FAR


def test_refused_updates_change_nothing_while_others_are_taken() -> None:
    typical = taken(*[0.01] * FIRST)
    for _ in range(10):
        for _ in range(STUCK - 1):
            typical.refuse()
        typical.take(0.01)
    assert typical.norm_max < 2.0


def test_it_survives_a_restart() -> None:
    for many in (0, 3, FIRST, 300):
        typical, again = taken(*range(1, many + 1)), TypicalNorm.of(ONE, None)
        again.load(typical.save())
        for each in (typical, again):
            each.take(7.0)
        assert again.save() == typical.save()
    again.load(Norms())
    assert again.save() == Norms()


def test_the_state_of_an_earlier_release_is_read_and_its_guesses_are_forgotten() -> None:
    typical = TypicalNorm.of(ONE, None)
    typical.load(msgspec.convert((2.0, 40), Norms))
    assert typical.norm_max == 200.0
    typical.load(msgspec.convert((4000.0, 7), Norms))
    assert typical.norm_max == 100.0
