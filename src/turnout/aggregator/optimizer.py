"""The server's step: the mean update of a version becomes the next model.

In FedOpt (Reddi et al. 2021, arXiv:2003.00295, algorithm 1) the server takes the mean update for a negative gradient
and hands it to any optimizer.
"""

import numpy as np
from numpy.typing import NDArray


class ServerSGD:
    """``v = momentum * v + mean; model = model + learning_rate * v``, reckoned in float64.

    With learning rate 1 and no momentum it is FedAvg. The step of a mean so large that the model leaves float32
    is not finite; the caller must look.
    """

    def __init__(self, learning_rate: float, momentum: float = 0.0) -> None:
        assert learning_rate > 0
        assert 0 <= momentum < 1
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._velocity: NDArray[np.float64] | None = None  # None: nothing to remember (yet)

    def step(self, model: NDArray[np.float32], mean: NDArray[np.float64]) -> NDArray[np.float32]:
        """The next model, as a new array."""
        velocity = mean
        if self._momentum:
            if self._velocity is not None:
                velocity = self._momentum * self._velocity + mean
            self._velocity = velocity
        with np.errstate(over="ignore"):
            return (model + self._learning_rate * velocity).astype(np.float32)

    def snapshot(self) -> tuple[NDArray[np.float64], ...]:
        """What the next step depends on; later steps do not change these arrays."""
        return () if self._velocity is None else (self._velocity,)

    def restore(self, state: tuple[NDArray[np.float64], ...]) -> None:
        """Go on from a snapshot."""
        self._velocity = state[0] if state else None
