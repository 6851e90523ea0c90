"""Devices that hold two digits each learn, together, to read all ten. What one learns here: the Python API as a whole.

    python examples/digits.py --devices 100 --versions 40

A trainer for each device, a measure for the server, the settings in between, and a run that is watched as it goes.
The functions below reach other processes as source: look at what ``job.write("FOLDER")`` writes.
"""

import argparse

import turnout
from turnout.demo import digits
from turnout.device.trainers.numpy_trainer import NumpyTrainer, accuracy, cross_entropy, initial_model


def trainer(index: int, devices: int, seed: int) -> NumpyTrainer:
    """Device ``index`` of ``devices`` trains on its own few images, which never leave it."""
    training, _ = digits.load()
    mine = digits.partition(devices, seed)[index]
    return NumpyTrainer(training.examples[mine], training.labels[mine], seed=index)


def evaluate(model):
    """The server measures each version on images that no device has."""
    _, test = digits.load()
    return {
        "accuracy": accuracy(model, test.examples, test.labels),
        "loss": cross_entropy(model, test.examples, test.labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--versions", type=int, default=40)
    arguments = parser.parse_args()
    job = turnout.Job(
        "digits",
        model=initial_model(digits.MODEL_SIZES),
        trainer=trainer,
        evaluate=evaluate,
        training={
            "workflow": "buffered",
            "concurrency": max(arguments.devices // 2, 2),
            "buffer_goal": max(arguments.devices // 4, 2),
        },
        optimizer={"name": "sgd", "learning_rate": 2.0, "momentum": 0.5},
        device={"epochs": 5, "batch_size": 20, "learning_rate": 0.15, "decay_versions": 20},
        pacing={"wait_min_s": 0.2, "wait_max_s": 5},
        stop={"versions": arguments.versions},
    )
    run = turnout.run(job, devices=arguments.devices, training_s=0.2, training_sigma=0.5, dropout=0.05)
    for event in run:
        if event.kind == "evaluated":
            print(f"version {event.version:3}  accuracy {event.metrics['accuracy']:.3f}")
    print("the model:", ", ".join(f"{name} {array.shape}" for name, array in run.model().items()))
    print(f"accuracy {run.metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main()
