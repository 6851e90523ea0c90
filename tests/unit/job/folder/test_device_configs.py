"""What each of FLARE's mobile SDKs is told of one job; tests/contract/flare plays what they do with it."""

from typing import Any

import pytest

from turnout.job.folder.device_configs import by_platform

DEVICE = {"epochs": 5, "batch_size": 8, "learning_rate": 0.25}
META = {"total_epochs": 5, "batch_size": 8, "learning_rate": 0.25}
ARGS = {"epoch": 5, "total_epochs": 5, "batch_size": 8, "lr": 0.25}


def component(kind: str, args: Any = None, name: str = "trainer") -> dict[str, Any]:
    return {"type": kind, "name": name, **({} if args is None else {"args": args})}


def config(*components: Any, **other: Any) -> dict[str, Any]:
    return {"components": list(components), **other}


ANDROID = config(component("Executor.ETTrainerExecutor", {"meta": META}))
IOS = config(component("Trainer.DLTrainer", ARGS))


def test_without_a_file_it_is_made_from_the_settings() -> None:
    assert by_platform(None, {}, DEVICE) == {"android": ANDROID, "ios": IOS}


@pytest.mark.parametrize("kind", ["Trainer.DLTrainer", "ETTrainer"])
def test_a_trainer_becomes_what_each_platform_knows_with_the_settings_over_its_arguments(kind: str) -> None:
    given = config(component(kind, {"lr": 0.5, "epoch": 2, "shuffle": True}))
    told = by_platform(given, {}, {"learning_rate": 0.25})
    android = {"learning_rate": 0.25, "total_epochs": 2, "dataset_shuffle": True}
    assert told["android"] == config(component("Executor.ETTrainerExecutor", {"meta": android}))
    ios = {"lr": 0.25, "epoch": 2, "total_epochs": 2, "shuffle": True}
    assert told["ios"] == config(component("Trainer.DLTrainer", ios))


def test_androids_executor_stays_and_is_a_trainer_to_ios() -> None:
    told = by_platform(ANDROID, {}, {})
    assert told == {"android": ANDROID, "ios": IOS}


def test_what_is_written_for_one_platform_is_sent_as_it_is() -> None:
    assert by_platform(None, {"android": [1]}, DEVICE) == {"android": [1], "ios": IOS}


def test_other_components_and_keys_stay_as_they_are() -> None:
    other, executors = component("Filter.NoOpFilter", {"lr": 1}, "f"), {"*": "@trainer"}
    told = by_platform(config(component("Trainer.DLTrainer"), other, executors=executors), {}, {})
    assert told["android"]["components"][1] == told["ios"]["components"][1] == other
    assert told["android"]["executors"] == told["ios"]["executors"] == executors


@pytest.mark.parametrize("given", [[1], "text", {"components": "x"}, {}, config("x", {"name": "n"})])
def test_what_no_sdk_reads_stays_as_it_is(given: Any) -> None:
    assert by_platform(given, {}, DEVICE) == {"android": given, "ios": given}


def test_arguments_that_are_none_are_as_if_there_were_none() -> None:
    for kind, args in (("Trainer.DLTrainer", [1]), ("Executor.ETTrainerExecutor", {"meta": 1})):
        told = by_platform(config(component(kind, args)), {}, {})
        assert told["android"] == config(component("Executor.ETTrainerExecutor", {"meta": {}}))
