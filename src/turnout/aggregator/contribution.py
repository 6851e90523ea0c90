"""What is added to the sum of a version: of one result, or one day of many that were added up elsewhere."""

from typing import Any

import msgspec
from numpy.typing import NDArray


class Contribution(msgspec.Struct, frozen=True):
    """``factor`` times ``vector`` goes into the sum, ``weight`` into the divisor, and each task counts as a result.

    Of one result both are its weight, unless its update is to be shortened. Of a sum of weighted updates the factor
    is 1, and the weight theirs together.
    """

    vector: NDArray[Any]
    tasks: tuple[int, ...]  #: Claimed before it is added.
    weight: float
    factor: float
