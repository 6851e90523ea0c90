"""What combines the updates of one model version into one step: ``mean.py``, or another with these methods."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.codec import Refusal
from turnout.aggregator.contribution import Contribution
from turnout.aggregator.mean import SavedSum


class Aggregator(Protocol):
    """Takes contributions one by one, keeps no more of them than it must, and survives a crash through its parts.

    What it keeps in arrays goes by name into ``vectors``; ``VECTORS`` of ``job/journal/form.py`` says what the numbers
    of each name are, and a journal holds no other.
    """

    count: int  #: Results that are in.

    @property
    def dtype(self) -> np.dtype[Any]:
        """What one number of an update is."""
        ...

    def check(self, vector: NDArray[Any], weight: float) -> Refusal | float:
        """Why this update cannot be added, or its L2 norm; changes nothing."""
        ...

    def add(self, contribution: Contribution, discount: float = 1.0) -> None:
        """Add what passed ``check``; ``discount`` is above 0 and at most 1."""
        ...

    def mean(self) -> NDArray[np.float64]:
        """What all that was added says together, which must be something."""
        ...

    def clear(self) -> None:
        """Begin the next version."""
        ...

    def save(self) -> SavedSum: ...
    def load(self, saved: SavedSum) -> None: ...
    def vectors(self) -> Mapping[str, NDArray[Any]]: ...
    def load_vectors(self, vectors: Mapping[str, NDArray[Any]]) -> None: ...
