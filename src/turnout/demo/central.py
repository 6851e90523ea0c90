"""What the demo's model reaches when all the data is in one place: ``python -m turnout.demo.central --seed 0``.

The same model, trainer and test set; enough epochs that more gain nothing. Prints one line of JSON.
"""

import argparse
import os
from functools import partial

import msgspec

from turnout.demo import digits
from turnout.device.trainers.numpy_trainer import NumpyTrainer, accuracy, initial_model
from turnout.process import lifeline

#: 50 epochs are fewer passes over each image than the fleet's some 600, but every step sees all digits.
SETTINGS = {"epochs": 50, "batch_size": 20, "learning_rate": 0.1}


def train_centrally(seed: int) -> dict[str, float]:
    """The metrics of ``server.py`` that can be compared: the accuracy on the test set."""
    training, test = digits.load()
    before = initial_model(digits.MODEL_SIZES)
    update = NumpyTrainer(training.examples, training.labels, seed).train(before, SETTINGS)
    model = {name: before[name] + update.delta[name] for name in before}
    return {"accuracy": accuracy(model, test.examples, test.labels)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m turnout.demo.central", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the order of examples")
    parser.add_argument("--lifeline-fd", type=int, help="end when this pipe closes")
    arguments = parser.parse_args()
    if arguments.lifeline_fd is not None:
        lifeline.watch(arguments.lifeline_fd, partial(os._exit, lifeline.EXIT_ORPHANED))
    print(msgspec.json.encode(train_centrally(arguments.seed)).decode(), flush=True)


if __name__ == "__main__":
    main()
