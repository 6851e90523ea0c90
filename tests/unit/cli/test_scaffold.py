"""``turnout new`` writes a folder that loads as it is, and whose job.toml lacks no setting."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from tests.unit.test_docs import settings
from turnout.cli import scaffold
from turnout.cli.job_toml import comments, job_toml
from turnout.errors import UsageError
from turnout.job.folder.code import load_module
from turnout.job.folder.folder import load_job_folder
from turnout.job.folder.spec import JobSpec, RoundsTraining, StopRule


def test_the_folder_loads_as_it_is(tmp_path: Path) -> None:
    files = scaffold.write(tmp_path / "new" / "job", "lines")
    assert files == ("job.toml", "model.py", "device.py", "server.py")
    job = load_job_folder(tmp_path / "new" / "job")
    assert job.spec.name == "lines"
    assert job.spec.stop == StopRule(versions=20, time_s=300.0)
    assert job.model.size == 3


def test_its_devices_learn_what_its_server_measures(tmp_path: Path) -> None:
    scaffold.write(tmp_path, "lines")
    config = scaffold.SETTINGS["device"]
    assert isinstance(config, dict)
    model = load_module(tmp_path / "model.py").initial_model()
    evaluate = load_module(tmp_path / "server.py").evaluate
    before = evaluate(model)
    for index in range(10):
        update = load_module(tmp_path / "device.py").trainer(index, 10, 0).train(model, config)
        model = {name: model[name] + update.delta[name] for name in model}
    after = evaluate(model)
    assert after["loss"] < before["loss"]
    assert after["accuracy"] > 0.9


@pytest.mark.parametrize("key", sorted(set(settings(JobSpec)) | set(settings(RoundsTraining))))
def test_every_setting_is_there_and_explained(key: str) -> None:
    text = job_toml({"name": "x", **scaffold.SETTINGS})
    assert re.search(rf"^(#?{key} = |# {key} is not set|\[([a-z]+\.)?{key}\])", text, re.MULTILINE), key


def test_a_default_can_be_taken_as_it_stands() -> None:
    text = job_toml({"name": "x", **scaffold.SETTINGS})
    taken = text.replace("#staleness_max = 20", "staleness_max = 20").replace("#every = 1", "every = 1")
    assert taken != text
    assert msgspec.convert(tomllib.loads(taken), JobSpec) == msgspec.convert(tomllib.loads(text), JobSpec)


def test_what_is_not_given_keeps_its_default() -> None:
    plain = msgspec.convert(tomllib.loads(job_toml({"name": "x", "stop.versions": 3})), JobSpec)
    assert plain == JobSpec(name="x", stop=StopRule(versions=3))


def test_comments_are_those_above_the_settings() -> None:
    assert comments(StopRule)["versions"] == "At this model version."


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UsageError, match="is not empty; choose a folder that does not exist yet"):
        scaffold.write(tmp_path, "lines")
    with pytest.raises(UsageError, match="cannot be written"):
        scaffold.write(tmp_path / "mine" / "below", "lines")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 129])
def test_a_name_that_no_job_may_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="give --name"):
        scaffold.write(tmp_path / "job", name)
    assert not (tmp_path / "job").exists()
