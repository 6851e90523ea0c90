"""The server's step, by hand and by the sentences of FedOpt (Reddi et al. 2021, arXiv:2003.00295)."""

import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.optimizer import ServerSGD


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
