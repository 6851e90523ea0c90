"""The examples as a person runs them, with few devices: they run to their end, and what they train gets better."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT_S = 180  #: Ends a test that would hang; no test needs it.


def example(name: str, *arguments: str) -> list[str]:
    """What an example prints, line by line."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert (found.returncode, found.stderr) == (0, ""), found.stdout + found.stderr
    return found.stdout.splitlines()


def values(lines: list[str], name: str) -> list[float]:
    """What the lines say of a metric, in order."""
    return [float(found[1]) for line in lines if (found := re.search(rf"\b{name} +([0-9.]+)", line))]


def test_digits_are_learned() -> None:
    lines = example("digits", "--devices", "24", "--versions", "4")
    accuracies = values(lines, "accuracy")
    assert accuracies[0] < 0.2 < max(accuracies)
    assert "the model: b1 (64,), b2 (10,), w1 (64, 64), w2 (64, 10)" in lines


def test_a_line_is_fitted_by_a_trainer_of_ones_own() -> None:
    lines = example("tabular_regression", "--devices", "12", "--versions", "8")
    errors = values(lines, "rmse")
    assert errors[0] > 3
    assert errors[-1] < 1


def test_a_hook_decides_when_the_job_has_ended() -> None:
    *lines, ended, best = example("custom_hook", "--devices", "24", "--target", "0.01")
    assert re.fullmatch(r"the job has ended: worst of version \d+ is 0\.\d+, at least 0\.01", ended)
    assert re.fullmatch(r"its best version is \d+: 4810 numbers", best)
    assert any(re.search(r"worst +[1-9]", line) for line in lines)


def test_a_convolutional_network_is_trained(tmp_path: Path) -> None:
    """On pictures of one bright row each, at the height that is their digit: the shape of MNIST, and easily learned."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed; make torch installs it")
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 600), ("test", 100)):
        labels = rng.integers(10, size=count).astype(np.uint8)
        images = rng.integers(30, size=(count, 28, 28)).astype(np.uint8)
        for row in range(2):
            images[np.arange(count), 4 + 2 * labels + row] = 250
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    np.savez(tmp_path / "mnist.npz", **arrays)
    accuracies = values(
        example("mnist_cnn", str(tmp_path / "mnist.npz"), "--devices", "6", "--versions", "4"), "accuracy"
    )
    assert accuracies[0] < 0.3
    assert len(accuracies) > 2


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_every_example_says_what_one_learns_from_it_and_is_short(file: Path) -> None:
    text = file.read_text()
    assert "What one learns here: " in text.splitlines()[0]
    assert f"python examples/{file.name}" in text
    assert text.count("\n") <= 120
