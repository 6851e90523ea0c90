"""The trainer for PyTorch, on models small enough to check by hand. Skipped where PyTorch is not installed."""

from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make torch installs it", exc_type=ImportError)

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch.utils.data import Dataset, TensorDataset  # noqa: E402

from turnout.api.models import model_file  # noqa: E402
from turnout.device.trainers.base import NoExamples  # noqa: E402
from turnout.device.trainers.torch_trainer import TorchTrainer, all_arrays, from_arrays, to_arrays  # noqa: E402
from turnout.errors import DeviceError, JobFolderError  # noqa: E402
from turnout.wire.model_files import read_start  # noqa: E402

ONE_STEP = {"epochs": 1, "batch_size": 2, "learning_rate": 0.5}


def line() -> nn.Module:
    """y = w x, without bias."""
    return nn.Linear(1, 1, bias=False)


def normed() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 1))


def pairs(*values: tuple[float, float]) -> TensorDataset:
    table = torch.tensor(values, dtype=torch.float32)
    return TensorDataset(table[:, :1], table[:, 1:])


class OneByOne(Dataset[Any]):
    """The same data as a TensorDataset, as a data set that only knows indices."""

    def __init__(self, data: TensorDataset) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Any:
        return self._data[index]


def weights(value: float) -> dict[str, Any]:
    return {"weight": np.array([[value]], np.float32)}


def test_one_step_is_the_learning_rate_times_the_gradient() -> None:
    """Loss (w x - y)²; at w = 0, x = 1, y = 1 its slope is -2."""
    update = TorchTrainer(line, pairs((1, 1)), F.mse_loss).train(weights(0), ONE_STEP)
    assert update.delta["weight"].tolist() == [[1.0]]
    assert (update.num_examples, update.metrics) == (1.0, {"loss": 1.0})


def test_fedprox_pulls_back_to_the_model_that_the_task_began_with() -> None:
    """The second step is at w = 1, where the loss has no slope, and the pull is mu (w - w0)."""
    settings = {**ONE_STEP, "epochs": 2, "mu": 0.5}
    update = TorchTrainer(line, pairs((1, 1)), F.mse_loss).train(weights(0), settings)
    assert update.delta["weight"].tolist() == [[1.0 - 0.5 * 0.5]]


def test_a_gradient_is_shortened_to_its_bound() -> None:
    settings = {**ONE_STEP, "gradient_norm_max": 1.0}
    update = TorchTrainer(line, pairs((1, 1)), F.mse_loss).train(weights(0), settings)
    assert update.delta["weight"].item() == pytest.approx(0.5, abs=1e-5)


def test_the_first_step_of_adam_is_the_learning_rate() -> None:
    update = TorchTrainer(line, pairs((1, 9)), F.mse_loss).train(weights(0), {**ONE_STEP, "optimizer": "adam"})
    assert update.delta["weight"].item() == pytest.approx(0.5, abs=1e-5)


def test_the_same_task_gives_the_same_update_whatever_was_trained_before() -> None:
    data = TensorDataset(torch.arange(12.0).reshape(6, 2) % 5, torch.ones(6, 1))
    model = to_arrays(normed())
    trainer = TorchTrainer(normed, data, F.mse_loss, seed=3)
    first = trainer.train(model, {**ONE_STEP, "model_version": 7})
    TorchTrainer(normed, data, F.mse_loss, seed=4).train(model, ONE_STEP)
    again = trainer.train(model, {**ONE_STEP, "model_version": 7})
    later = trainer.train(model, {**ONE_STEP, "model_version": 8})
    assert all((first.delta[name] == again.delta[name]).all() for name in model)
    assert any((first.delta[name] != later.delta[name]).any() for name in model)


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    TorchTrainer(line, pairs((1, 1)), F.mse_loss).train(weights(0), ONE_STEP)
    assert torch.equal(torch.rand(1), expected)


def test_a_model_is_measured_on_the_devices_own_data() -> None:
    """At w = 2 the errors of (1, 1) and (2, 1) are 1 and 3."""
    trainer = TorchTrainer(lambda: line(), pairs((1, 1), (2, 1)), F.mse_loss)
    metrics, count = trainer.evaluate(weights(2), {"batch_size": 1})
    assert (metrics, count) == ({"loss": 5.0}, 2.0)
    assert trainer.train(weights(2), ONE_STEP).delta["weight"] < 0, "what was measured can be trained"


def test_of_classes_the_accuracy_is_measured_too() -> None:
    """The larger input is the class: right for the first of two examples."""
    data = TensorDataset(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 0]))
    model = {"weight": np.eye(2, dtype=np.float32), "bias": np.zeros(2, np.float32)}
    metrics, _ = TorchTrainer(lambda: nn.Linear(2, 2), data, F.cross_entropy).evaluate(model, {})
    assert metrics["accuracy"] == 0.5


def test_a_data_set_of_any_kind_gives_the_same_update() -> None:
    data = pairs((1, 1), (2, 3), (0, 1))
    fast = TorchTrainer(line, data, F.mse_loss).train(weights(0), ONE_STEP)
    slow = TorchTrainer(line, OneByOne(data), F.mse_loss).train(weights(0), ONE_STEP)
    assert fast.delta["weight"].tolist() == slow.delta["weight"].tolist()


def test_the_model_is_the_state_dict_in_its_order_but_for_integers() -> None:
    assert list(to_arrays(normed())) == ["0.weight", "0.bias", "0.running_mean", "0.running_var", "2.weight", "2.bias"]
    half = nn.Linear(2, 1).half()
    arrays = to_arrays(half)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert from_arrays(half, arrays).weight.dtype is torch.float16


def test_running_statistics_are_learned_like_weights() -> None:
    """Two examples with mean 4 in each column: the running mean goes a tenth of the way."""
    data = TensorDataset(torch.tensor([[3.0, 2.0], [5.0, 6.0]]), torch.zeros(2, 1))
    update = TorchTrainer(normed, data, F.mse_loss).train(to_arrays(normed()), {**ONE_STEP, "learning_rate": 1e-9})
    assert update.delta["0.running_mean"].tolist() == pytest.approx([0.4, 0.4])


def test_a_last_batch_of_one_is_left_out_where_it_cannot_be_normed() -> None:
    data = TensorDataset(torch.arange(6.0).reshape(3, 2), torch.zeros(3, 1))
    assert TorchTrainer(normed, data, F.mse_loss).train(to_arrays(normed()), ONE_STEP).num_examples == 3


def test_a_negative_running_variance_is_taken_for_zero() -> None:
    arrays = {**to_arrays(normed()), "0.running_var": np.array([-0.5, 2.0], np.float32)}
    assert from_arrays(normed(), arrays)[0].running_var.tolist() == [0.0, 2.0]


def test_arrays_come_and_go_as_they_are() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2))
    arrays = to_arrays(module)
    arrays["0.bias"][:] = 9.0
    assert module[0].bias.tolist() != [9.0, 9.0]
    assert from_arrays(module, arrays)[0].bias.tolist() == [9.0, 9.0]


@pytest.mark.parametrize(
    ("model", "words"), [({}, 'missing "weight"'), ({"weight": np.zeros((2, 1), np.float32)}, r"has shape \[2, 1\]")]
)
def test_a_model_of_another_module_is_refused(model: dict[str, Any], words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        TorchTrainer(line, pairs((1, 1)), F.mse_loss).train(model, ONE_STEP)


def test_a_training_that_diverges_says_so() -> None:
    settings = {"epochs": 50, "learning_rate": 1e9, "batch_size": 1}
    with pytest.raises(ValueError, match=r"training diverged with learning_rate 1e\+09; lower it"):
        TorchTrainer(line, pairs((1, 1)), F.mse_loss).train(weights(0), settings)


def test_a_setting_out_of_range_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="mu"):
        TorchTrainer(line, pairs((1, 1)), F.mse_loss).train(weights(0), {"mu": -1})


def test_a_device_without_examples_sits_out() -> None:
    empty = TorchTrainer(line, TensorDataset(torch.zeros(0, 1), torch.zeros(0, 1)), F.mse_loss)
    for work in (empty.train, empty.evaluate):
        with pytest.raises(NoExamples):
            work(weights(0), ONE_STEP)


class Masked(nn.Module):
    """A frozen layer, a trained one, a mask of minus infinity, and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(1, 1, bias=False).requires_grad_(False)
        self.head = nn.Linear(1, 1, bias=False)
        self.register_buffer("mask", torch.full((1,), float("-inf")))
        self.register_buffer("seen", torch.zeros(1))
        nn.init.ones_(self.body.weight)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Any) -> Any:
        self.seen += 1
        return self.head(self.body(x))


@pytest.mark.parametrize("parameters", ["trainable", "head.*", ["head.*"], ["!body.*", "!mask", "!seen"]])
def test_only_what_is_chosen_is_trained_and_sent(parameters: Any) -> None:
    """Loss (w x - y)² as above; all else stays on the device, and is the same for every task."""
    model = to_arrays(Masked(), parameters)
    assert {name: array.tolist() for name, array in model.items()} == {"head.weight": [[0]]}
    trainer = TorchTrainer(Masked, pairs((1, 1)), F.mse_loss, parameters=parameters)
    for _ in range(2):
        update = trainer.train(model, ONE_STEP)
        assert {name: array.tolist() for name, array in update.delta.items()} == {"head.weight": [[1.0]]}
    metrics, _ = trainer.evaluate({"head.weight": np.array([[1]], np.float32)}, {})
    assert metrics["loss"] == 0


def test_a_parameter_that_is_not_chosen_is_not_trained() -> None:
    """Both layers require a gradient, one is sent: after two tasks of one thread the other is still as it was."""

    def both() -> nn.Module:
        module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        for layer in module:
            nn.init.ones_(layer.weight)
        return module

    trainer = TorchTrainer(both, pairs((1, 2)), F.mse_loss, parameters="1.*")
    model = to_arrays(both(), "1.*")
    first, second = (trainer.train(model, {**ONE_STEP, "epochs": 2}).delta["1.weight"].tolist() for _ in range(2))
    assert first == second == [[1.0]]  # slope 2 (1 - 2) at w = 1, none at w = 2: with the other layer it would be more


def test_parameters_that_choose_nothing_are_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"parameters='tail\.\*' chooses none of mask, seen, body\.weight, head\.weight"
    ):
        to_arrays(Masked(), "tail.*")


def test_tied_weights_are_sent_once_and_taken_by_either_name() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(1, 1, bias=False)
            self.second = nn.Linear(1, 1, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x: Any) -> Any:
            return self.second(self.first(x))

    assert list(to_arrays(Tied())) == ["first.weight"]
    for names in (["first.weight"], ["second.weight"], ["first.weight", "second.weight"]):
        model = {name: np.array([[1]], np.float32) for name in names}
        update = TorchTrainer(Tied, pairs((1, 2)), F.mse_loss).train(model, {**ONE_STEP, "learning_rate": 0.25})
        assert {name: array.tolist() for name, array in update.delta.items()} == {name: [[1.0]] for name in names}


def test_what_a_model_carries_is_loaded_too() -> None:
    """A counter of batches, say: the file that people get is the whole of the network."""
    module = normed()
    whole = all_arrays(module)
    assert whole["0.num_batches_tracked"].dtype == np.int64
    whole["0.num_batches_tracked"] = np.array(7)
    assert int(from_arrays(normed(), whole)[0].num_batches_tracked) == 7
    assert int(from_arrays(normed(), to_arrays(module))[0].num_batches_tracked) == 0


def test_a_mask_of_infinities_names_the_ways_out() -> None:
    with pytest.raises(
        JobFolderError, match=r'"mask" is -inf at position 0; .*persistent=False.*parameters="trainable"'
    ):
        model_file(Masked())


def test_a_state_dict_is_a_model_whatever_its_numbers() -> None:
    state = {"w": torch.ones(1, dtype=torch.bfloat16), "n": torch.tensor(3), "b": torch.ones(1, dtype=torch.float64)}
    start = read_start(model_file(state))
    assert (start.model.tolist(), start.carried["n"].tolist()) == ([1, 1], 3)
