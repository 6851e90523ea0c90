"""The demo's data: handwritten digits, dealt out so unevenly that no device could learn them alone.

See ``digits.md`` for where the data comes from.
"""

import functools
import gzip
import math
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from turnout.device.trainers.numpy_trainer import Examples, Labels
from turnout.errors import UsageError

FEATURES = 64
MODEL_SIZES = (FEATURES, 64, 10)  #: From pixels over one hidden layer to digits.
PIXEL_MEAN, PIXEL_SPREAD = 5.0, 6.0  #: Of all pixels, rounded: centred inputs train in a third of the rounds.
TEST_SHARE = 0.25
DEVICES_MAX = 1_000_000  #: Their examples are all in memory at once, 320 bytes a device.
SPLIT_SEED = 1998  #: The split is the same in every run: accuracies of different runs compare.
SHARDS_PER_DEVICE = 2
MEAN_EXAMPLES_MIN = 40  #: Devices that would have fewer on average get the training set dealt out several times.
SIZE_SPREAD = 0.5  #: Standard deviation of the logarithm of a shard's size.


@dataclass(frozen=True, slots=True)
class Digits:
    """Images as rows of 64 numbers around 0, and the digits they show."""

    examples: Examples
    labels: Labels


@functools.cache
def load() -> tuple[Digits, Digits]:
    """The training and the test set, the same in every process."""
    packed = (resources.files("turnout.demo") / "digits.csv.gz").read_bytes()
    table = np.loadtxt(gzip.decompress(packed).decode("ascii").splitlines(), delimiter=",", dtype=np.uint8)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(table))
    tests = int(TEST_SHARE * len(table))
    return _digits(table[order[tests:]]), _digits(table[order[:tests]])


@functools.lru_cache(maxsize=1)
def partition(devices: int, seed: int) -> list[NDArray[np.intp]]:
    """The indices of the training examples that each device holds: few, and of few digits.

    As in section 3 of McMahan et al. 2017 (arXiv:1602.05629): the examples are sorted by digit, cut into shards, and
    each device gets two; but here the shards are of different sizes. Every example is dealt equally often, more
    than once where there are many devices, and every device gets at least two.
    """
    labels = load()[0].labels
    if not 0 < devices <= DEVICES_MAX:
        raise UsageError(f"{devices} devices cannot share the digits; 1 to {DEVICES_MAX:,} can")
    rng = np.random.default_rng((seed, devices))
    deals = math.ceil(devices * MEAN_EXAMPLES_MIN / len(labels))
    by_digit = [np.flatnonzero(labels == digit) for digit in np.unique(labels)]
    pool = np.concatenate([rng.permutation(same) for same in by_digit for _ in range(deals)])
    shards = devices * SHARDS_PER_DEVICE
    share = np.cumsum(rng.lognormal(sigma=SIZE_SPREAD, size=shards))
    cuts = np.rint(share / share[-1] * (len(pool) - shards)).astype(np.intp) + np.arange(1, shards + 1)
    pieces = np.split(pool, cuts[:-1])
    hands = rng.permutation(shards).reshape(devices, SHARDS_PER_DEVICE)
    return [np.concatenate([pieces[shard] for shard in hand]) for hand in hands]


def _digits(table: NDArray[np.uint8]) -> Digits:
    examples = (table[:, :FEATURES].astype(np.float32) - PIXEL_MEAN) / PIXEL_SPREAD
    return Digits(examples.astype(np.float32), table[:, FEATURES].astype(np.intp))
