"""The server's step, by hand and by the sentences of FedOpt (Reddi et al. 2021, arXiv:2003.00295)."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from turnout.aggregator.optimizer import ServerOptimizer, ServerSGD, server_adagrad, server_adam, server_yogi


def model(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, dtype=np.float32)


def test_sgd_with_rate_1_is_fedavg() -> None:
    """FedAvg is FedOpt whose server optimizer is SGD with learning rate 1: the model moves by the mean (section 2)."""
    stepped = ServerSGD(learning_rate=1.0).step(model(1, 2), np.array([0.5, -2.0]))
    assert stepped.tolist() == [1.5, 0.0]
    assert stepped.dtype == np.float32


def test_the_server_takes_the_mean_update_as_a_negative_gradient() -> None:
    """Algorithm 1: the server optimizer gets -Delta_t as its gradient; SGD of rate 0.5 so adds half the mean."""
    assert ServerSGD(learning_rate=0.5).step(model(1, 2), np.array([2.0, -4.0])).tolist() == [2.0, 0.0]


def test_momentum_keeps_a_share_of_the_last_step() -> None:
    """v1 = 4, v2 = 0.5 * 4 + 4 = 6, v3 = 0.5 * 6 + 0 = 3; the rate is 0.5."""
    sgd, at = ServerSGD(learning_rate=0.5, momentum=0.5), model(0)
    path = []
    for mean in (4.0, 4.0, 0.0):
        at = sgd.step(at, np.array([mean]))
        path.append(float(at[0]))
    assert path == [2.0, 5.0, 6.5]


def test_a_step_leaves_model_and_mean_as_they_were() -> None:
    at, mean = model(1, 2), np.array([1.0, 1.0])
    sgd = ServerSGD(learning_rate=1.0, momentum=0.9)
    sgd.step(at, mean)
    sgd.step(at, mean)
    assert (at.tolist(), mean.tolist()) == ([1, 2], [1, 1])


def test_a_restored_optimizer_goes_on_as_the_one_it_was_taken_from() -> None:
    first, second = ServerSGD(1.0, 0.9), ServerSGD(1.0, 0.9)
    first.step(model(0), np.array([3.0]))
    state = first.snapshot()
    first.step(model(0), np.array([3.0]))  # does not change what was taken
    second.restore(state)
    assert second.step(model(0), np.array([1.0])).tolist() == model(0.9 * 3 + 1).tolist()


def test_without_momentum_there_is_nothing_to_remember() -> None:
    sgd = ServerSGD(1.0)
    sgd.step(model(0), np.array([3.0]))
    assert sgd.snapshot() == ()
    sgd.restore(())
    assert sgd.step(model(0), np.array([1.0])).tolist() == [1]


def test_a_step_out_of_float32_is_not_finite() -> None:
    assert np.isinf(ServerSGD(1000.0).step(model(0), np.array([1e38]))).all()


# --- the adaptive ones: algorithm 2 of FedOpt ---------------------------------------------------------------------


def path(optimizer: ServerOptimizer, *means: float) -> list[float]:
    at, found = model(0), []
    for mean in means:
        at = optimizer.step(at, np.array([mean]))
        found.append(float(at[0]))
    return found


def test_adam_by_hand() -> None:
    """v begins at tau^2 = 4. m1 = 2 / 2 = 1; v1 = (4 + 4) / 2 = 4; x1 = 1 / (2 + 2) = 0.25.

    m2 = (1 + 4) / 2 = 2.5; v2 = (4 + 16) / 2 = 10; x2 = 0.25 + 2.5 / (sqrt(10) + 2).
    """
    adam = server_adam(learning_rate=1.0, beta1=0.5, beta2=0.5, tau=2.0)
    assert path(adam, 2.0, 4.0) == pytest.approx([0.25, 0.25 + 2.5 / (10**0.5 + 2)], rel=1e-6)


def test_yogi_by_hand() -> None:
    """beta1 = 0, so m is the mean. v0 = 4; a square of 16 is above it: v1 = 4 + 16 / 4 = 8; x1 = 4 / (sqrt(8) + 2).

    A square of 4 is below: v2 = 8 - 4 / 4 = 7. Adam's would have been (3 * 8 + 4) / 4 = 7 as well; with a square of 0
    Yogi's stays 7, Adam's falls.
    """
    yogi = server_yogi(learning_rate=1.0, beta1=0.0, beta2=0.75, tau=2.0)
    first = 4 / (8**0.5 + 2)
    second = first + 2 / (7**0.5 + 2)
    assert path(yogi, 4.0, 2.0, 0.0) == pytest.approx([first, second, second], rel=1e-6)
    assert yogi.snapshot()[1].tolist() == [7.0]


def test_adagrad_by_hand() -> None:
    """v0 = 1; v1 = 1 + 8 = 9: x1 = sqrt(8) / (3 + 1); v2 = 9 + 16 = 25: x2 = x1 + 4 / (5 + 1); halved by the rate."""
    adagrad = server_adagrad(learning_rate=0.5, beta1=0.0, tau=1.0)
    first = 0.5 * 8**0.5 / 4
    assert path(adagrad, 8**0.5, 4.0) == pytest.approx([first, first + 0.5 * 4 / 6], rel=1e-6)


def test_the_first_step_has_no_bias_correction() -> None:
    """It is (1 - beta1) * mean / (sqrt(beta2 * tau^2 + (1 - beta2) * mean^2) + tau).

    Here both factors are nearly 0.1, so it is about 1 all the same; with beta1 = 0.99 it is a tenth of that.
    """
    [first] = path(server_adam(learning_rate=1.0, beta1=0.9, beta2=0.99, tau=1e-3), 1.0)
    assert first == pytest.approx(0.1 / ((0.99e-6 + 0.01) ** 0.5 + 1e-3), rel=1e-6)
    [shorter] = path(server_adam(learning_rate=1.0, beta1=0.99, beta2=0.99, tau=1e-3), 1.0)
    assert shorter == pytest.approx(first / 10)


ADAPTIVE = {
    "adam": lambda: server_adam(0.1, 0.9, 0.99, 1e-3),
    "yogi": lambda: server_yogi(0.1, 0.9, 0.99, 1e-3),
    "adagrad": lambda: server_adagrad(0.1, 0.0, 1e-3),
}


@pytest.mark.parametrize("make", ADAPTIVE.values(), ids=ADAPTIVE.keys())
def test_an_adaptive_optimizer_goes_on_from_its_snapshot(make: Callable[[], ServerOptimizer]) -> None:
    first, second = make(), make()
    assert first.snapshot() == ()
    first.step(model(0, 1), np.array([3.0, -1.0]))
    state = first.snapshot()
    kept = [vector.copy() for vector in state]
    stepped = first.step(model(0, 1), np.array([1.0, 1.0]))
    np.testing.assert_array_equal(state, kept)
    second.restore(state)
    assert second.step(model(0, 1), np.array([1.0, 1.0])).tolist() == stepped.tolist()


@pytest.mark.parametrize("make", ADAPTIVE.values(), ids=ADAPTIVE.keys())
def test_an_adaptive_optimizer_moves_each_parameter_about_as_far(make: Callable[[], ServerOptimizer]) -> None:
    """However different the sizes of their updates are, as long as they are above tau."""
    small, large = make().step(model(0, 0), np.array([1.0, 1000.0]))
    assert small == pytest.approx(large, rel=0.02)
