"""The weighted mean: sums checked by hand, sentences of the papers, and refusals that change nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from turnout.aggregator.codec import BLOCK, FLOAT32_MAX, Refusal
from turnout.aggregator.contribution import Contribution
from turnout.aggregator.mean import TOTAL, MeanAggregator, SavedSum


def add(mean: MeanAggregator, vector: NDArray[np.float32], weight: float, discount: float = 1.0) -> None:
    """One result."""
    mean.add(Contribution(vector, (0,), weight, factor=weight), discount)


def vector(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, dtype=np.float32)


def aggregator(num_parameters: int = 2, weight_max: float = 1000.0, norm_max: float | None = None) -> MeanAggregator:
    return MeanAggregator(num_parameters, weight_max, norm_max)


# --- what it computes ---------------------------------------------------------------------------------------------


def test_fedavg_weighs_each_device_by_its_examples() -> None:
    """McMahan et al. 2017, algorithm 1: w_{t+1} <- sum_k (n_k / n) w_{t+1}^k; here of updates."""
    mean = aggregator()
    add(mean, vector(1, 0), weight=1)
    add(mean, vector(0, 4), weight=3)
    assert mean.mean().tolist() == [0.25, 3.0]
    assert (mean.count, mean.total_weight) == (2, 4)


def test_fedbuff_divides_by_the_number_of_updates() -> None:
    """Nguyen et al. 2022, algorithm 1: the server's step is the sum of the buffer divided by K."""
    mean = aggregator()
    for update in (vector(2, 0), vector(4, 0), vector(0, 8), vector(0, 8)):
        add(mean, update, weight=1)
    assert mean.mean().tolist() == [1.5, 4.0]


def test_a_discount_stays_in_effect_when_all_updates_are_equally_stale() -> None:
    """FedBuff scales each update by 1/sqrt(1 + staleness) and divides by K: not by the sum of the scales."""
    mean = aggregator()
    add(mean, vector(2, 4), weight=1, discount=0.5)
    add(mean, vector(6, 4), weight=1, discount=0.5)
    assert mean.mean().tolist() == [2.0, 2.0]


def test_a_discount_does_not_lower_the_weight_that_is_divided_by() -> None:
    mean = aggregator()
    add(mean, vector(8, 0), weight=3, discount=0.5)
    add(mean, vector(0, 8), weight=1, discount=1.0)
    assert mean.mean().tolist() == [3.0, 2.0]


@given(st.permutations(range(16)))
def test_devices_that_each_add_one_at_their_own_place_are_averaged_exactly(order: list[int]) -> None:
    mean = aggregator(num_parameters=16)
    for place in order:
        update = np.zeros(16, dtype=np.float32)
        update[place] = 1
        add(mean, update, weight=1)
    assert mean.mean().tolist() == [1 / 16] * 16


def test_the_float64_total_does_not_lose_small_updates_among_many() -> None:
    """Alone in float32, adding 1 stops at 2**24; here a sum of many more blocks than that stays exact."""
    mean = aggregator(num_parameters=1)
    mean.load(SavedSum(1.0, 1))
    mean.load_vectors({TOTAL: np.array([2.0**30])})
    for _ in range(10 * BLOCK + 7):
        add(mean, vector(1), weight=1)
    assert mean.vectors()[TOTAL].tolist() == [2.0**30 + 10 * BLOCK + 7]


@given(
    st.lists(st.tuples(st.floats(-1, 1, width=32), st.floats(0.5, 100), st.floats(0.01, 1)), min_size=1, max_size=200)
)
def test_the_mean_is_that_of_float64_within_rounding(updates: list[tuple[float, float, float]]) -> None:
    mean = aggregator(num_parameters=1)
    for number, weight, discount in updates:
        add(mean, vector(number), weight, discount)
    expected = math.fsum(x * w * s for x, w, s in updates) / math.fsum(w for _, w, _ in updates)
    scale = math.fsum(abs(x * w * s) for x, w, s in updates) / math.fsum(w for _, w, _ in updates)
    assert mean.mean()[0] == pytest.approx(expected, abs=1e-5 * scale + 1e-30)


def test_a_cleared_sum_begins_anew() -> None:
    mean = aggregator()
    add(mean, vector(100, 100), weight=7)
    mean.clear()
    add(mean, vector(1, 2), weight=1)
    assert mean.mean().tolist() == [1, 2]


def test_an_added_vector_may_be_read_only_and_lie_anywhere() -> None:
    body = memoryview(b"x" + vector(1, 2).tobytes())[1:]
    mean = aggregator()
    add(mean, np.frombuffer(body, dtype="<f4"), weight=2)
    assert mean.mean().tolist() == [1, 2]


# --- what it refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("update", "weight", "reason", "words"),
    [
        (vector(1, 2, 3), 1, "length", "[3]; 2 numbers are expected"),
        (vector(1), 1, "length", "[1]; 2 numbers"),
        (vector(1, 2).reshape(2, 1), 1, "length", "[2, 1]; 2 numbers"),
        (np.zeros(2), 1, "dtype", "float64; float32 is expected"),
        (vector(1, math.nan), 1, "not_finite", "NaN or infinity"),
        (vector(math.inf, 1), 1, "not_finite", "NaN or infinity"),
        (vector(1, 2), 0, "weight", "weight 0 is not above 0 and at most 1000"),
        (vector(1, 2), -1, "weight", "weight -1"),
        (vector(1, 2), 1001, "weight", "weight 1001"),
        (vector(1, 2), math.nan, "weight", "weight nan"),
        (vector(3, 4.01), 1, "norm", "L2 norm is 5.008; at most 5 is expected"),
        (vector(1e20, 0), 1, "norm", "L2 norm is 1e+20"),
    ],
)
def test_a_refused_update_says_why(update: NDArray[np.float32], weight: float, reason: str, words: str) -> None:
    refusal = aggregator(norm_max=5.0).check(update, weight)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert words in refusal.message


def test_checking_changes_nothing() -> None:
    mean = aggregator(norm_max=5.0)
    add(mean, vector(1, 2), weight=1)
    for update in (vector(1, math.nan), vector(300, 400), vector(1), vector(1, 1)):
        mean.check(update, 1)
    assert mean.mean().tolist() == [1, 2]
    assert mean.count == 1


def test_an_update_at_its_bounds_is_taken() -> None:
    assert aggregator(norm_max=5.0).check(vector(3, 4), 1000) == 5.0


def test_weight_times_update_may_not_overflow_a_block() -> None:
    mean = aggregator()
    refusal = mean.check(vector(1e35, 0), 1000)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "overflow"
    assert mean.check(vector(1e35, 0), 1) == pytest.approx(1e35)


@given(st.floats(2.0**-100, FLOAT32_MAX, width=32), st.floats(1e-3, 1000))
def test_what_passes_the_check_never_overflows(number: float, weight: float) -> None:
    mean = aggregator(num_parameters=1)
    if not isinstance(mean.check(vector(number), weight), Refusal):
        for _ in range(2 * BLOCK):
            add(mean, vector(number), weight)
        assert mean.mean()[0] == pytest.approx(number, rel=1e-4)


# --- snapshots ----------------------------------------------------------------------------------------------------


def test_a_snapshot_holds_the_open_block_and_does_not_change() -> None:
    mean = aggregator()
    add(mean, vector(1, 2), weight=2)
    total, saved = mean.vectors()[TOTAL], mean.save()
    add(mean, vector(1, 1), weight=1)
    assert (total.tolist(), saved.total_weight, saved.count) == ([2, 4], 2, 1)
    assert mean.vectors()[TOTAL].tolist() == [3, 5]


@given(st.lists(st.floats(-1000, 1000, width=32), max_size=150), st.integers(0, 150))
def test_a_restored_sum_goes_on_exactly_as_the_one_it_was_taken_from(numbers: list[float], cut: int) -> None:
    first, second = aggregator(num_parameters=1), aggregator(num_parameters=1)
    for number in numbers[:cut]:
        add(first, vector(number), weight=3)
    add(second, vector(5), weight=1)  # forgotten by the restore
    second.load(first.save())
    second.load_vectors(first.vectors())
    for number in numbers[cut:]:
        add(first, vector(number), weight=0.7)
        add(second, vector(number), weight=0.7)
    assert first.vectors()[TOTAL].tobytes() == second.vectors()[TOTAL].tobytes()
    assert first.save() == second.save()
