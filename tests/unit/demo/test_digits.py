"""The demo's data: what it is, and how unevenly it is dealt."""

import numpy as np
import pytest

from turnout.demo import digits


def test_the_data_is_all_there_and_split_in_two() -> None:
    training, test = digits.load()
    assert len(training.labels) + len(test.labels) == 1797
    assert len(test.labels) == 449
    for part in (training, test):
        assert part.examples.shape == (len(part.labels), 64)
        assert part.examples.dtype == np.float32
        assert set(part.labels) == set(range(10))


def test_pixels_are_centred() -> None:
    training, _ = digits.load()
    assert abs(training.examples.mean()) < 0.05
    assert abs(training.examples.std() - 1) < 0.05


@pytest.mark.parametrize("devices", [1, 3, 500, 2000])
def test_every_example_is_dealt_equally_often_and_every_device_has_some(devices: int) -> None:
    training, _ = digits.load()
    hands = digits.partition(devices, seed=1)
    assert len(hands) == devices
    assert min(len(hand) for hand in hands) >= 2
    dealt = np.bincount(np.concatenate(hands), minlength=len(training.labels))
    assert dealt.min() == dealt.max() >= 1
    assert sum(map(len, hands)) >= devices * digits.MEAN_EXAMPLES_MIN or dealt.max() == 1


def test_the_hands_are_small_uneven_and_one_sided() -> None:
    """McMahan et al. 2017, section 3: most devices have examples of two digits only."""
    training, _ = digits.load()
    hands = digits.partition(500, seed=1)
    sizes = sorted(map(len, hands))
    assert sizes[450] > 2 * sizes[50]
    kinds = [len(set(training.labels[hand])) for hand in hands]
    assert max(kinds) <= 4
    assert np.mean([kind <= 2 for kind in kinds]) > 0.9


def test_a_seed_always_deals_the_same_and_another_seed_differently() -> None:
    first = [hand.tolist() for hand in digits.partition(50, seed=1)]
    digits.partition.cache_clear()
    assert [hand.tolist() for hand in digits.partition(50, seed=1)] == first
    assert [hand.tolist() for hand in digits.partition(50, seed=2)] != first
