"""The numpy trainer: its gradient against finite differences, its steps by hand."""

import math

import msgspec
import numpy as np
import pytest

from turnout.device.trainers.base import NoExamples, Trainer
from turnout.device.trainers.numpy_trainer import (
    NumpyTrainer,
    accuracy,
    cross_entropy,
    gradients,
    initial_model,
)

RNG = np.random.default_rng(7)
EXAMPLES = RNG.standard_normal((6, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def random_model(*sizes: int) -> dict[str, np.ndarray]:
    model = initial_model(sizes, seed=1)
    return {name: RNG.standard_normal(array.shape).astype(np.float32) for name, array in model.items()}


@pytest.mark.parametrize("sizes", [(4, 3), (4, 5, 3), (4, 5, 6, 3)])
def test_the_gradient_is_that_of_finite_differences(sizes: tuple[int, ...]) -> None:
    """In float64, where a central difference of step 1e-5 is good to about 1e-9."""
    model = {name: array.astype(np.float64) for name, array in random_model(*sizes).items()}
    examples = EXAMPLES.astype(np.float64)
    # float64 arrays do not pass the wire's checks, so the analytic gradient is taken of their float32 copies
    single = {name: array.astype(np.float32) for name, array in model.items()}
    found, loss = gradients(single, EXAMPLES, LABELS)
    assert loss == pytest.approx(cross_entropy(model, examples, LABELS), rel=1e-5)
    for name, array in model.items():
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + 1e-5
            above = cross_entropy(model, examples, LABELS)
            array[index] = kept - 1e-5
            below = cross_entropy(model, examples, LABELS)
            array[index] = kept
            assert found[name][index] == pytest.approx((above - below) / 2e-5, rel=1e-3, abs=1e-5), (name, index)


def test_one_step_of_softmax_regression_by_hand() -> None:
    """Zeros make both classes 1/2, so the gradient of b is (1/2 - 1, 1/2) and of w that times x = 2."""
    trainer = NumpyTrainer(np.array([[2.0]], dtype=np.float32), np.array([0]))
    update = trainer.train(initial_model((1, 2)), {"learning_rate": 0.5, "batch_size": 1})
    assert update.delta["b1"].tolist() == [0.25, -0.25]
    assert update.delta["w1"].tolist() == [[0.5, -0.5]]
    assert update.num_examples == 1
    assert update.metrics["loss"] == pytest.approx(math.log(2))


def test_without_momentum_nothing_of_the_last_step_is_kept() -> None:
    """With a tiny rate both gradients are (-1/2, 1/2): two steps move b by rate * (1 + 1) / 2."""
    trainer = NumpyTrainer(np.array([[0.0]], dtype=np.float32), np.array([0]))
    update = trainer.train(initial_model((1, 2)), {"learning_rate": 1e-4, "epochs": 2})
    assert update.delta["b1"].tolist() == pytest.approx([1e-4, -1e-4], rel=1e-3)


def test_momentum_repeats_a_share_of_the_last_step() -> None:
    """With a tiny rate both gradients are (-1/2, 1/2): two steps move b by rate * (1 + 1.5) / 2."""
    trainer = NumpyTrainer(np.array([[0.0]], dtype=np.float32), np.array([0]))
    config = {"learning_rate": 1e-4, "momentum": 0.5, "epochs": 2}
    update = trainer.train(initial_model((1, 2)), config)
    assert update.delta["b1"][0] == pytest.approx(2.5e-4 / 2, rel=1e-3)


def test_the_proximal_term_pulls_back_to_where_training_began() -> None:
    """Two steps at rate 0.1 and mu = 2, by hand; b starts at 0, and its gradient is (p - 1, 1 - p).

    The first: p = 1/2, and nothing pulls yet: b = 0.05. The second: p = 1 / (1 + exp(-0.1)), and the pull is 2 * 0.05.
    """
    trainer = NumpyTrainer(np.array([[0.0]], dtype=np.float32), np.array([0]))
    update = trainer.train(initial_model((1, 2)), {"learning_rate": 0.1, "epochs": 2, "mu": 2.0})
    p = 1 / (1 + math.exp(-0.1))
    assert update.delta["b1"][0] == pytest.approx(0.05 + 0.1 * ((1 - p) - 2 * 0.05), rel=1e-5)
    assert update.delta["b1"][1] == pytest.approx(-update.delta["b1"][0])


def test_without_mu_nothing_pulls() -> None:
    model = random_model(4, 3)
    plain, zero = (NumpyTrainer(EXAMPLES, LABELS).train(model, {"epochs": 2, **mu}) for mu in ({}, {"mu": 0.0}))
    assert plain.delta["w1"].tobytes() == zero.delta["w1"].tobytes()


def test_a_large_mu_keeps_the_update_small() -> None:
    model = random_model(4, 3)
    far, near = (
        NumpyTrainer(EXAMPLES, LABELS).train(model, {"epochs": 20, "learning_rate": 0.05, "mu": mu}).delta["w1"]
        for mu in (0.0, 5.0)
    )
    assert np.abs(near).sum() < np.abs(far).sum() / 2


def test_an_epoch_takes_every_example_once() -> None:
    """Three examples of the same class, in batches of two: two steps, whose losses weigh 2/3 and 1/3."""
    trainer: Trainer = NumpyTrainer(np.zeros((3, 1), dtype=np.float32), np.array([0, 0, 0]))
    update = trainer.train(initial_model((1, 2)), {"learning_rate": 1e-4, "batch_size": 2})
    assert update.delta["b1"][0] == pytest.approx(1e-4, rel=1e-3)
    assert update.num_examples == 3


def test_the_same_task_gives_the_same_update_and_the_next_version_another_order() -> None:
    model = random_model(4, 5, 3)
    config = {"epochs": 2, "batch_size": 2, "model_version": 3}
    first, again = (NumpyTrainer(EXAMPLES, LABELS, seed=5).train(model, config) for _ in range(2))
    later = NumpyTrainer(EXAMPLES, LABELS, seed=5).train(model, {**config, "model_version": 4})
    assert first.delta["w1"].tobytes() == again.delta["w1"].tobytes()
    assert first.delta["w1"].tobytes() != later.delta["w1"].tobytes()


def test_training_leaves_the_model_as_it_was() -> None:
    model = random_model(4, 3)
    before = {name: array.copy() for name, array in model.items()}
    NumpyTrainer(EXAMPLES, LABELS).train(model, {"epochs": 3})
    assert all(np.array_equal(model[name], before[name]) for name in model)


def test_training_learns() -> None:
    model = initial_model((4, 16, 3), seed=2)
    update = NumpyTrainer(EXAMPLES, LABELS).train(model, {"epochs": 200, "learning_rate": 0.1, "momentum": 0.9})
    trained = {name: model[name] + update.delta[name] for name in model}
    assert accuracy(trained, EXAMPLES, LABELS) == 1
    assert cross_entropy(trained, EXAMPLES, LABELS) < 0.01


def test_a_diverging_training_is_reported() -> None:
    with pytest.raises(ValueError, match="diverged with learning_rate 1e\\+30"):
        NumpyTrainer(EXAMPLES * 1e20, LABELS).train(random_model(4, 3), {"learning_rate": 1e30, "epochs": 5})


@pytest.mark.parametrize("config", [{"epochs": 0}, {"learning_rate": 0}, {"momentum": 1.0}, {"batch_size": "big"}])
def test_settings_out_of_range_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        NumpyTrainer(EXAMPLES, LABELS).train(random_model(4, 3), config)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({}, "found none"),
        ({"w1": (4, 3)}, "found w1"),
        ({"w": (4, 3), "b": (3,)}, "found w, b"),
        ({"w1": (4, 3), "b1": (4,)}, "layer 1"),
        ({"w1": (4, 5), "b1": (5,), "w2": (4, 3), "b2": (3,)}, "layer 2"),
        ({"w1": (4,), "b1": ()}, "layer 1"),
    ],
)
def test_a_model_that_is_no_stack_of_layers_is_refused(shapes: dict[str, tuple[int, ...]], words: str) -> None:
    model = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=words):
        NumpyTrainer(EXAMPLES, LABELS).train(model, {})


def test_steps_become_shorter_with_the_versions() -> None:
    """With ``decay_versions = 4`` the step of version 4 is a half of the first, that of version 8 a third."""
    trainer = NumpyTrainer(np.array([[0.0]], dtype=np.float32), np.array([0]))
    config = {"learning_rate": 0.6, "decay_versions": 4}
    steps = [
        trainer.train(initial_model((1, 2)), {**config, "model_version": version}).delta["b1"][0]
        for version in (0, 4, 8)
    ]
    assert steps == pytest.approx([0.3, 0.15, 0.1])


def test_it_measures_a_model_on_its_examples() -> None:
    """Zeros make all three classes equally likely, and the first the predicted one: two of six labels are 0."""
    metrics, num_examples = NumpyTrainer(EXAMPLES, LABELS).evaluate(initial_model((4, 3)), {})
    assert num_examples == 6
    assert metrics == {"accuracy": pytest.approx(2 / 6), "loss": pytest.approx(math.log(3))}


def test_a_device_without_examples_is_told_apart_from_a_mistake() -> None:
    empty = NumpyTrainer(np.zeros((0, 2), np.float32), np.zeros(0, np.intp))
    for work in (empty.train, empty.evaluate):
        with pytest.raises(NoExamples, match="the device has no examples"):
            work(initial_model((2, 2)), {})
    with pytest.raises(ValueError, match="2 examples have 1 labels"):
        NumpyTrainer(np.zeros((2, 2), np.float32), np.zeros(1, np.intp))
    with pytest.raises(ValueError, match="two are needed at least"):
        initial_model((2,))
