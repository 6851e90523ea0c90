"""The server's step: the mean update of a version becomes the next model.

In FedOpt (Reddi et al. 2021, arXiv:2003.00295, algorithm 1) the server takes the mean update for a negative gradient
and hands it to any optimizer: SGD, or one of the adaptive ones of their algorithm 2.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class ServerOptimizer(Protocol):
    """Reckons in float64. Of a mean so large that the model leaves float32 the step is not finite: the caller looks."""

    def step(self, model: NDArray[np.float32], mean: Vector) -> NDArray[np.float32]:
        """The next model, as a new array."""
        ...

    def snapshot(self) -> tuple[Vector, ...]:
        """What the next step depends on; later steps do not change these arrays."""
        ...

    def restore(self, state: tuple[Vector, ...]) -> None:
        """Continue from a snapshot."""
        ...


class ServerSGD:
    """``v = momentum * v + mean; model = model + learning_rate * v``. At rate 1 without momentum it is FedAvg."""

    def __init__(self, learning_rate: float, momentum: float = 0.0) -> None:
        assert learning_rate > 0
        assert 0 <= momentum < 1
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._velocity: Vector | None = None  # None: nothing to remember (yet)

    def step(self, model: NDArray[np.float32], mean: Vector) -> NDArray[np.float32]:
        velocity = mean
        if self._momentum:
            if self._velocity is not None:
                velocity = self._momentum * self._velocity + mean
            self._velocity = velocity
        with np.errstate(over="ignore"):
            return (model + self._learning_rate * velocity).astype(np.float32)

    def snapshot(self) -> tuple[Vector, ...]:
        return () if self._velocity is None else (self._velocity,)

    def restore(self, state: tuple[Vector, ...]) -> None:
        self._velocity = state[0] if state else None


class ServerAdaptive:
    """A step of its own size for every parameter: ``model + learning_rate * m / (sqrt(v) + tau)``.

    ``m = beta1 * m + (1 - beta1) * mean``, from 0, and ``v`` follows the squares of the means, from ``tau ** 2``.
    Algorithm 2 of FedOpt has no bias correction as Kingma and Ba have it, and nor have we: the first steps are short.
    """

    def __init__(
        self, learning_rate: float, beta1: float, tau: float, follow: Callable[[Vector, Vector], Vector]
    ) -> None:
        """``follow`` gives the next ``v`` of the last one and the mean's square."""
        assert learning_rate > 0
        assert 0 <= beta1 < 1
        assert tau > 0
        self._learning_rate, self._beta1, self._tau = learning_rate, beta1, tau
        self._follow = follow
        self._state: tuple[Vector, Vector] | None = None  # m and v; None: no step was made yet

    def step(self, model: NDArray[np.float32], mean: Vector) -> NDArray[np.float32]:
        m, v = self._state or (np.zeros_like(mean), np.full_like(mean, self._tau**2))
        m = self._beta1 * m + (1 - self._beta1) * mean
        v = self._follow(v, mean**2)
        self._state = (m, v)
        with np.errstate(over="ignore"):
            return (model + self._learning_rate * m / (np.sqrt(v) + self._tau)).astype(np.float32)

    def snapshot(self) -> tuple[Vector, ...]:
        return self._state or ()

    def restore(self, state: tuple[Vector, ...]) -> None:
        self._state = (state[0], state[1]) if state else None


def server_adam(learning_rate: float, beta1: float, beta2: float, tau: float) -> ServerAdaptive:
    """FedAdam: ``v`` is a running mean of the squares."""
    return ServerAdaptive(learning_rate, beta1, tau, partial(_mean_of_squares, beta2))


def server_yogi(learning_rate: float, beta1: float, beta2: float, tau: float) -> ServerAdaptive:
    """FedYogi: ``v`` goes towards the square by a share of the square, so it falls more slowly than Adam's."""
    return ServerAdaptive(learning_rate, beta1, tau, partial(_towards_squares, beta2))


def server_adagrad(learning_rate: float, beta1: float, tau: float) -> ServerAdaptive:
    """FedAdagrad: ``v`` is the sum of all squares, so steps only get shorter."""
    return ServerAdaptive(learning_rate, beta1, tau, np.add)


def _mean_of_squares(beta2: float, v: Vector, square: Vector) -> Vector:
    return beta2 * v + (1 - beta2) * square


def _towards_squares(beta2: float, v: Vector, square: Vector) -> Vector:
    return v - (1 - beta2) * square * np.sign(v - square)
