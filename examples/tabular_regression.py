"""Farms learn, together, what makes their crops grow. What one learns here: a trainer is any object with ``train``.

    python examples/tabular_regression.py --devices 50 --versions 30

Each device has a small table of its own, measured with its own bias, and fits a line through it with a few steps of
gradient descent. No library does that here: a trainer gets arrays and returns what it changed.
"""

import argparse

import numpy as np

import turnout

FEATURES = ["rain", "sun", "nitrogen", "slope"]
TRUTH = np.array([2.0, 1.0, 0.5, -1.5])  # what the farms' harvests follow, but for chance; nobody is told


def table(seed: int, rows: int):
    """Measurements, one row each, and harvests."""
    rng = np.random.default_rng(seed)
    measured = rng.normal(size=(rows, len(FEATURES))) + rng.normal(scale=0.5, size=len(FEATURES))
    return measured, measured @ TRUTH + 3.0 + rng.normal(scale=0.1, size=rows)


class LineTrainer:
    """Fits ``harvest = measured @ weights + offset`` by least squares."""

    def __init__(self, measured, harvest) -> None:
        self.measured = measured
        self.harvest = harvest

    def train(self, model, config) -> turnout.Update:
        """``model`` and ``config`` are what the server sent; the answer is the change, and how much it shall weigh."""
        weights, offset = model["weights"].copy(), model["offset"].copy()
        for _ in range(config["steps"]):
            error = self.measured @ weights + offset - self.harvest
            weights -= config["learning_rate"] * (self.measured.T @ error / len(error)).astype(np.float32)
            offset -= config["learning_rate"] * error.mean().astype(np.float32)
        delta = {"weights": weights - model["weights"], "offset": offset - model["offset"]}
        return turnout.Update(delta, num_examples=len(self.harvest), metrics={"error": float(np.abs(error).mean())})


def trainer(index: int, devices: int, seed: int) -> LineTrainer:
    """Farm ``index`` has between 10 and 50 rows."""
    return LineTrainer(*table(seed * devices + index + 1, rows=10 + index % 40))


def evaluate(model):
    measured, harvest = table(0, rows=500)
    return {"rmse": float(np.sqrt(np.mean((measured @ model["weights"] + model["offset"] - harvest) ** 2)))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--versions", type=int, default=30)
    arguments = parser.parse_args()
    job = turnout.Job(
        "harvest",
        model={"weights": np.zeros(len(FEATURES)), "offset": np.zeros(())},
        trainer=trainer,
        evaluate=evaluate,
        training={"workflow": "buffered", "concurrency": max(arguments.devices // 2, 1), "buffer_goal": 5},
        device={"steps": 10, "learning_rate": 0.1},
        pacing={"wait_min_s": 0.1, "wait_max_s": 2},
        stop={"versions": arguments.versions},
    )
    with turnout.run(job, devices=arguments.devices, training_s=0.1) as run:
        for event in run:
            if event.kind == "evaluated":
                print(f"version {event.version:3}  rmse {event.metrics['rmse']:.3f}")
        model = run.model()
    for feature, learned, true in zip(FEATURES, model["weights"], TRUTH, strict=True):
        print(f"{feature:10} {learned:6.2f}  (in truth {true:5.2f})")
    print(f"rmse {run.metrics['rmse']:.3f}")


if __name__ == "__main__":
    main()
