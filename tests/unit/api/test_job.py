"""A job described in Python is the folder that a person would have written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from turnout import Job, Update
from turnout.errors import JobFolderError
from turnout.job.folder.folder import load_job_folder
from turnout.job.folder.spec import BufferedTraining

MODEL = {"w": np.zeros(4, np.float32)}


def trainer(index: int, devices: int, seed: int) -> Any:
    class Ones:
        def train(self, model: Any, config: Any) -> Update:
            return Update({"w": np.ones(4, np.float32)}, 1.0)

    return Ones()


def evaluate(model: dict[str, Any]) -> dict[str, float]:
    return {"first": float(model["w"][0])}


def test_a_job_becomes_a_folder_that_can_be_run(tmp_path: Path) -> None:
    job = Job(
        "tiny",
        MODEL,
        trainer=trainer,
        evaluate=evaluate,
        training={"workflow": "buffered", "buffer_goal": 2},
        device={"epochs": 3},
        stop={"versions": 5},
        device_config={"camera": True},
        device_configs={"ios": {"camera": False}},
        edge_method="ones",
    )
    folder = load_job_folder(job.write(tmp_path / "new" / "job"))
    assert folder.spec == job.spec
    assert (job.name, folder.spec.edge_method, folder.spec.device) == ("tiny", "ones", {"epochs": 3})
    assert isinstance(folder.spec.training, BufferedTraining)
    assert folder.device_config == {"camera": True}
    assert folder.device_configs == {"ios": {"camera": False}}
    assert folder.model.tolist() == [0.0] * 4
    assert folder.server is not None
    assert folder.device is not None
    assert repr(job) == (
        "<turnout.Job 'tiny': device.py, device_config.ios.json, device_config.json, job.toml, "
        "model.safetensors, server.py>"
    )


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({}, "stop"),
        ({"stop": {"versions": 0}}, "Job: stop.versions = 0: expected is an integer, at least 1"),
        ({"stop": {"versions": 1}, "pace": {}}, 'Job: unknown setting pace; did you mean "pacing"?'),
        ({"stop": {"versions": 1}, "trainer": 3}, "trainer is a int; expected is a function"),
        ({"stop": {"versions": 1}, "device_configs": {"web": {}}}, "FLARE has an SDK for 'android', 'ios'"),
        ({"stop": {"versions": 1}, "evaluate": lambda model: {}}, "evaluate is a lambda"),
    ],
)
def test_a_mistake_is_told_where_the_job_is_written(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(JobFolderError) as caught:
        Job("tiny", MODEL, **keywords)
    assert words in str(caught.value)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    job = Job("tiny", MODEL, stop={"versions": 1})
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(JobFolderError, match="is not empty; name a new folder"):
        job.write(tmp_path)
