"""A job that ends when its worst digit is good enough. What one learns here: the server's hooks, and what they decide.

    python examples/custom_hook.py --devices 100 --target 0.8

``evaluate`` may measure anything; what it returns is charted, kept with each version, and can decide which version is
the best and when the job is done. It runs in a process of its own: slow code delays nobody, a crash is a warning.
"""

import argparse

import numpy as np
from digits import trainer

import turnout
from turnout.demo import digits
from turnout.device.trainers.numpy_trainer import initial_model


def predict(model, examples):
    """The likeliest digit of each image, by a perceptron with one hidden layer."""
    hidden = np.maximum(examples @ model["w1"] + model["b1"], 0)
    return (hidden @ model["w2"] + model["b2"]).argmax(axis=1)


def evaluate(model):
    """Accuracy hides a digit that is never read: here is the share of images read of each, and the worst of these."""
    _, test = digits.load()
    right = predict(model, test.examples) == test.labels
    by_digit = {f"digit_{digit}": float(right[test.labels == digit].mean()) for digit in range(10)}
    return {"worst": min(by_digit.values()), "accuracy": float(right.mean()), **by_digit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--target", type=float, default=0.8, help="the share of its worst digit's images to be read")
    arguments = parser.parse_args()
    job = turnout.Job(
        "worst-digit",
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
        evaluation={"metric": "worst", "goal": "max"},
        stop={"at_least": arguments.target, "versions": 200},
    )
    run = turnout.run(job, devices=arguments.devices)
    for event in run:
        if event.kind == "evaluated":
            by_digit = (f"{event.metrics[f'digit_{digit}']:4.0%}" for digit in range(10))
            print(f"version {event.version:3}  worst {event.metrics['worst']:4.0%}   {' '.join(by_digit)}")
    print(f"the job has ended: {run.wait().reason}")
    numbers = sum(array.size for array in run.model("best").values())
    print(f"its best version is {run.status.best_version}: {numbers} numbers")


if __name__ == "__main__":
    main()
