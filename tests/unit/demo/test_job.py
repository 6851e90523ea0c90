"""The demo's job folder: it can be loaded, its devices learn, and its server measures what they learned."""

from pathlib import Path
from typing import Literal

import pytest

from turnout.aggregator.codec import Refusal
from turnout.aggregator.contribution import Contribution
from turnout.aggregator.mean import MeanAggregator
from turnout.aggregator.optimizer import ServerSGD
from turnout.demo.central import train_centrally
from turnout.demo.job import write_folder
from turnout.job.folder.code import load_module
from turnout.job.folder.folder import load_job_folder
from turnout.job.folder.spec import BufferedTraining, RoundsTraining
from turnout.wire.tensors import flatten, unflatten


@pytest.mark.parametrize(("devices", "places", "goal"), [(500, 250, 40), (5000, 250, 40), (20, 16, 6), (2, 2, 2)])
def test_a_buffered_job_fits_its_fleet(tmp_path: Path, devices: int, places: int, goal: int) -> None:
    training = load_job_folder(write_folder(tmp_path / "job", "buffered", devices)).spec.training
    assert isinstance(training, BufferedTraining)
    assert (training.concurrency, training.buffer_goal) == (places, goal)


@pytest.mark.parametrize(("devices", "cohort"), [(500, 100), (5000, 100), (20, 10), (2, 2)])
def test_a_job_of_rounds_fits_its_fleet(tmp_path: Path, devices: int, cohort: int) -> None:
    training = load_job_folder(write_folder(tmp_path / "job", "sync", devices)).spec.training
    assert isinstance(training, RoundsTraining)
    assert training.cohort == cohort


@pytest.mark.parametrize("mode", ["buffered", "sync"])
def test_a_few_rounds_of_a_few_devices_learn_most_digits(tmp_path: Path, mode: Literal["buffered", "sync"]) -> None:
    """Six rounds of 30 out of 40 devices, with the folder's own trainers, settings and evaluation."""
    folder = load_job_folder(write_folder(tmp_path / "job", mode, 500))
    assert folder.device is not None
    assert folder.server is not None
    make, evaluate = load_module(folder.device).trainer, load_module(folder.server).evaluate
    trainers = [make(index, 40, 0) for index in range(40)]
    model, optimizer = folder.model, ServerSGD(1.0)
    before = evaluate(unflatten(model, folder.schema))
    assert before["accuracy"] < 0.3
    for version in range(6):
        mean = MeanAggregator(len(model), folder.spec.training.weight_max)
        for trainer in trainers[version : version + 30]:
            config = {**folder.spec.device, "model_version": version}
            update = trainer.train(unflatten(model, folder.schema), config)
            vector = flatten(update.delta, folder.schema)
            assert not isinstance(mean.check(vector, update.num_examples), Refusal)
            mean.add(Contribution(vector, (0,), update.num_examples, update.num_examples))
        model = optimizer.step(model, mean.mean())
    after = evaluate(unflatten(model, folder.schema))
    assert after["accuracy"] > 0.8
    assert after["loss"] < before["loss"]


def test_trained_centrally_the_model_reads_nearly_every_digit() -> None:
    assert train_centrally(seed=0)["accuracy"] > 0.97
