"""A convolutional network learns MNIST on devices. What one learns here: training a PyTorch module.

    pip install "turnout[torch]"
    python examples/mnist_cnn.py mnist.npz --devices 100 --versions 30

``mnist.npz`` holds train_images, train_labels, test_images and test_labels: uint8, the images of 28 by 28. Each device
gets the images of a few digits only, and is held to the common model by the term of FedProx.
"""

import argparse
import functools
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import TensorDataset

import turnout
from turnout.device.trainers.torch_trainer import TorchTrainer, from_arrays

TESTS_MAX = 2000  # of the test images: enough to see a version get better, and quick


class Net(nn.Module):
    """A norm over groups of channels depends on no other example: it suits devices whose data differ."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.GroupNorm(2, 8), nn.ReLU(),
            nn.Conv2d(8, 16, 5, stride=2, padding=2), nn.GroupNorm(4, 16), nn.ReLU(),
        )  # fmt: skip
        self.classes = nn.Linear(16 * 7 * 7, 10)

    def forward(self, images):
        return self.classes(self.features(images).flatten(1))


@functools.cache
def load(file: Path, part: str):
    """Images and labels, read once by each process."""
    with np.load(file) as arrays:
        return torch.from_numpy(arrays[f"{part}_images"]), torch.from_numpy(arrays[f"{part}_labels"]).long()


def prepared(images):
    """Pixels around 0, in one channel."""
    return images.float().div(255).sub(0.13).div(0.31).unsqueeze(1)


@functools.cache
def shares(file: Path, devices: int):
    """Which images each device holds: sorted by digit and cut into two pieces a device, dealt out at random."""
    _, labels = load(file, "train")
    pieces = np.array_split(np.argsort(labels.numpy(), kind="stable"), 2 * devices)
    hands = np.random.default_rng(0).permutation(2 * devices).reshape(devices, 2)
    return [np.concatenate([pieces[piece] for piece in hand]) for hand in hands]


def trainer(file: Path, index: int, devices: int, seed: int) -> TorchTrainer:
    images, labels = load(file, "train")
    mine = shares(file, devices)[index]
    data = TensorDataset(prepared(images[mine]), labels[mine])
    return TorchTrainer(Net, data, F.cross_entropy, seed=seed * devices + index)


def evaluate(file: Path, model):
    images, labels = load(file, "test")
    with torch.inference_mode():
        output = from_arrays(Net(), model).eval()(prepared(images[:TESTS_MAX]))
    return {"accuracy": float((output.argmax(1) == labels[:TESTS_MAX]).float().mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="mnist.npz")
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--versions", type=int, default=30)
    arguments = parser.parse_args()
    file = arguments.file.resolve()
    torch.manual_seed(0)
    job = turnout.Job(
        "mnist",
        model=Net(),
        trainer=functools.partial(trainer, file),  # its first argument is settled, the others come from the fleet
        evaluate=functools.partial(evaluate, file),
        edge_method="torch",
        training={"workflow": "rounds", "cohort": max(arguments.devices // 5, 2), "deadline_s": 30},
        device={"epochs": 1, "batch_size": 32, "learning_rate": 0.05, "momentum": 0.9, "mu": 0.01},
        pacing={"wait_min_s": 0.2, "wait_max_s": 5},
        stop={"versions": arguments.versions},
    )
    run = turnout.run(job, devices=arguments.devices)
    for event in run:
        if event.kind == "evaluated":
            print(f"version {event.version:3}  accuracy {event.metrics['accuracy']:.3f}")
    print(f"accuracy {run.metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main()
