"""What the model was in earlier versions, where devices report the model after training and not the difference.

Only models of one number are reported so: for others every version that somebody may still report would be kept.
"""

from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray


class SavedBases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The number of each version, as of a commit."""

    numbers: dict[int, float] = {}


@dataclass(slots=True)
class Bases:
    """The number of each version of which a result may still come; none are kept unless ``on``."""

    on: bool = False
    _numbers: dict[int, float] = field(default_factory=dict)

    def publish(self, version: int, model: NDArray[np.float32], oldest: int) -> None:
        """Devices get ``version`` from now on; results of versions before ``oldest`` are refused."""
        if self.on:
            still = {version: number for version, number in self._numbers.items() if version >= oldest}
            self._numbers = {**still, version: float(model[0])}

    def difference(self, version: int, reported: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """What the device changed; None when nobody knows what it began with."""
        number = self._numbers.get(version)
        return None if number is None else reported - np.float32(number)

    def save(self) -> SavedBases:
        return SavedBases(self._numbers)

    def load(self, saved: SavedBases) -> None:
        self._numbers = dict(saved.numbers)
