"""What each of FLARE's device SDKs makes of a device_config.json, rule by rule."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.flare.quirks import covers
from turnout.cli import checking, scaffold
from turnout.cli.device_config import findings, method_findings

TRAINER = {"type": "Trainer.DLTrainer", "name": "trainer", "args": {"lr": 0.1}}
ENDLESS = "without a pause"
ZEROS = "it trains none and sends zeros"


def config(*components: Any, **other: Any) -> dict[str, Any]:
    return {"components": list(components or (TRAINER,)), **other}


def trainer(**args: Any) -> dict[str, Any]:
    return config({**TRAINER, "args": args})


def component(name: str, **args: Any) -> dict[str, Any]:
    return {**TRAINER, "name": name, "args": args}


def said(given: Any, sdk: str) -> str:
    """All that is said of one SDK."""
    return "\n".join(str(found) for found in findings(given) if found.sdk == sdk)


@covers("config/types", "config/trainer")
def test_a_trainer_by_its_name_and_nothing_else_suits_all_three() -> None:
    assert findings(config()) == []


def test_what_is_found_is_said_in_one_line_that_names_the_sdk() -> None:
    assert str(findings(trainer(epoch=5))[0]) == (
        'device_config.json: Android ignores epoch in args of "trainer": '
        "it trains one epoch; give total_epochs in meta in args of an Executor.ETTrainerExecutor"
    )


@pytest.mark.parametrize("given", [[], 7, True])
def test_what_is_no_object_is_refused_by_all(given: Any) -> None:
    assert [(found.sdk, found.does) for found in findings(given)] == [
        ("Python", "refuses"),
        ("Android", "refuses"),
        ("iOS", "refuses"),
    ]


def test_json_in_text_is_read_by_android_alone() -> None:
    assert {found.sdk for found in findings('{"components": []}')} == {"Python", "iOS"}


@covers("config/components")
@pytest.mark.parametrize("components", [None, {}, "x", ["trainer"]])
def test_components_that_are_no_list_of_objects_are_refused_by_all(components: Any) -> None:
    assert {(found.sdk, found.does) for found in findings({"components": components})} == {
        ("Python", "refuses"),
        ("Android", "refuses"),
        ("iOS", "refuses"),
    }


def test_an_empty_list_of_components_leaves_nobody_to_train() -> None:
    empty = {"components": []}
    assert "components is empty" in said(empty, "Python")
    assert 'a component named "trainer"' in said(empty, "Android")
    assert ENDLESS in said(empty, "iOS")


@covers("config/components")
@pytest.mark.parametrize("broken", [{"type": "Trainer.DLTrainer"}, {"name": "trainer"}, {**TRAINER, "name": 1}])
def test_a_component_needs_name_and_type_as_text(broken: dict[str, Any]) -> None:
    for sdk in ("Python", "Android", "iOS"):
        assert "components[0] must have name and type" in said(config(broken), sdk)


@covers("config/duplicates")
def test_two_components_of_one_name_are_an_error_or_overwrite_each_other() -> None:
    twice = config(TRAINER, TRAINER)
    assert 'refuses the job: two components are named "trainer"' in said(twice, "Python")
    assert 'refuses the job: two components are named "trainer"' in said(twice, "Android")
    assert 'misreads component "trainer": of two with one name it keeps the last' in said(twice, "iOS")


@covers("config/types", "config/components")
def test_a_type_that_is_not_built_in_must_come_from_the_app() -> None:
    torch = config({"type": "Trainer.TorchTrainer", "name": "trainer"})
    assert 'type "Trainer.TorchTrainer" is not built in' in said(torch, "Android")
    assert 'type "Trainer.TorchTrainer" is not built in' in said(torch, "iOS")
    assert said(torch, "Python") == "", "what it knows is its app's alone"


def test_a_type_that_one_mobile_sdk_knows_is_foreign_to_the_other() -> None:
    no_op = config(TRAINER, {"type": "Filter.NoOpFilter", "name": "f"})
    assert said(no_op, "Android") == ""
    assert 'type "Filter.NoOpFilter" is not built in' in said(no_op, "iOS")


@covers("config/references")
def test_names_in_arguments_are_resolved_by_python_alone() -> None:
    given = config(component("trainer", loss={"of": ["@loss"]}), component("loss"))
    assert said(given, "Python") == ""
    for sdk in ("Android", "iOS"):
        assert 'misreads args of "trainer": it resolves no @name there' in said(given, sdk)


@covers("config/references")
def test_python_refuses_a_name_that_is_not_there_and_components_that_wait_for_each_other() -> None:
    assert "@loss, which is not a component" in said(config(component("trainer", loss="@loss")), "Python")
    ring = config(component("trainer", other="@b"), component("b", other="@trainer"), component("c"))
    assert "components wait for each other: b, trainer" in said(ring, "Python")


def test_arguments_must_be_an_object() -> None:
    given = config({**TRAINER, "args": [1]})
    assert 'refuses the job: args of "trainer" must be an object' in said(given, "Python")
    assert 'ignores args of "trainer"' in said(given, "Android")
    assert 'ignores args of "trainer"' in said(given, "iOS")


@covers("config/epoch", "config/method")
@pytest.mark.parametrize("key", ["epoch", "batch_size", "shuffle", "method"])
def test_android_hands_little_of_the_trainers_arguments_on(key: str) -> None:
    value = {"epoch": 5, "batch_size": 4, "shuffle": True, "method": "cnn"}[key]
    assert f"Android ignores {key} in args" in said(trainer(**{key: value}), "Android")
    assert said(trainer(**{key: value}), "iOS") == ""


@covers("data/ios-integers")
@pytest.mark.parametrize("lr", [1, 1.0, 0])
def test_ios_takes_a_learning_rate_without_a_fraction_for_an_integer_and_uses_its_own(lr: float) -> None:
    assert "misreads lr" in said(trainer(lr=lr), "iOS")
    assert "0.01 is used" in said(trainer(lr=lr), "iOS")
    assert said(trainer(lr=lr), "Android") == ""


def test_a_learning_rate_in_text_is_read_by_neither_mobile_sdk() -> None:
    assert "0.01 is used" in said(trainer(lr="0.1"), "iOS")
    assert "0.0001 is used" in said(trainer(lr="0.1"), "Android")


@pytest.mark.parametrize(("key", "default"), [("epoch", 1), ("batch_size", 32)])
@pytest.mark.parametrize("value", [1.5, "2", True])
def test_ios_wants_whole_numbers(key: str, default: int, value: Any) -> None:
    assert f"not an integer, so {default} is used" in said(trainer(**{key: value}), "iOS")


@covers("config/executors")
def test_executors_by_name_are_read_by_python_and_android_and_not_by_ios() -> None:
    given = config(executors={"*": "@trainer"})
    assert said(given, "Python") == said(given, "Android") == ""
    assert "iOS ignores executors" in said(given, "iOS")
    assert ENDLESS not in said(given, "iOS"), "it finds the component named trainer"


def test_executors_by_name_without_a_component_named_trainer_leave_ios_without_one() -> None:
    assert ENDLESS in said(config(component("mine"), executors={"train": "@mine"}), "iOS")


@covers("config/executors")
def test_executors_as_a_list_are_read_by_ios_alone() -> None:
    given = config(executors=[{"type": "ETTrainer", "task_name": "train"}])
    assert said(given, "iOS") == ""
    assert "executors must be an object" in said(given, "Python")
    assert "Android ignores executors" in said(given, "Android")


def test_an_executor_in_a_list_serves_any_task_unless_it_names_one() -> None:
    assert said(config(executors=[{"type": "ETTrainer"}]), "iOS") == ""
    assert ENDLESS in said(config(executors=[{"type": "ETTrainer", "task_name": "infer"}]), "iOS")
    assert "must have a type" in said(config(executors=[{"task_name": "train"}]), "iOS")


def test_executors_that_name_no_component_are_refused_by_android_and_passed_over_by_python() -> None:
    given = config(executors={"train": "@gone"})
    assert '"train" names @gone, which is not a component' in said(given, "Android")
    assert "ignores" in said(given, "Python")
    assert "must be of the form @name" in said(config(executors={"train": "trainer"}), "Python")


def test_executors_for_other_tasks_only_serve_nobody() -> None:
    given = config(executors={"infer": "@trainer"})
    for sdk in ("Python", "Android"):
        assert 'neither "train" nor "*"' in said(given, sdk)


@covers("config/trainer")
def test_without_executors_the_component_named_trainer_trains() -> None:
    given = config(component("mine"))
    for sdk in ("Python", "Android", "iOS"):
        assert 'refuses every task: without executors it needs a component named "trainer"' in said(given, sdk)


@covers("config/filters")
@pytest.mark.parametrize("key", ["in_filters", "out_filters", "handlers"])
def test_filters_and_handlers_by_name_are_not_read_by_ios(key: str) -> None:
    given = config(**{key: ["@trainer"]})
    assert said(given, "Python") == said(given, "Android") == ""
    assert f"iOS ignores {key}" in said(given, "iOS")


@covers("config/filters")
@pytest.mark.parametrize("key", ["in_filters", "out_filters", "handlers"])
def test_filters_and_handlers_as_objects_are_read_by_ios_alone(key: str) -> None:
    given = config(**{key: [{"type": "ETTrainer"}]})
    assert said(given, "iOS") == ""
    for sdk in ("Python", "Android"):
        assert "is not of the form @name" in said(given, sdk)


def test_filters_that_name_no_component_or_are_no_list_are_refused() -> None:
    for sdk in ("Python", "Android"):
        assert "'@gone' names no component" in said(config(in_filters=["@gone"]), sdk)
    assert "in_filters must be a list" in said(config(in_filters="@trainer"), "Python")
    assert "Android ignores in_filters" in said(config(in_filters="@trainer"), "Android")


@covers("config/filters-key")
def test_the_key_filters_of_the_sample_is_read_by_nobody() -> None:
    (found,) = findings(config(filters=["@trainer"]))
    assert str(found).startswith("device_config.json: no SDK reads filters")
    assert "in_filters and out_filters are read" in str(found)


@covers("config/method")
@pytest.mark.parametrize(
    ("name", "device", "refused"),
    [
        ("digits", {"batch_size": 5}, True),
        ("digits", {"batch_size": 4}, False),
        ("digits", {}, False),
        ("digits", {"batch_size": 5, "method": "cnn"}, False),
        ("my-CNN", {"batch_size": 5}, False),
        ("cifar10", {"batch_size": 5}, False),
        ("cnn", {"batch_size": 5, "method": "xor"}, True),
    ],
)
def test_android_trains_xor_unless_the_jobs_name_says_otherwise_and_that_takes_small_batches(
    name: str, device: dict[str, Any], refused: bool
) -> None:
    found = list(method_findings(name, device))
    assert [each.sdk for each in found] == ["Android"] * refused


def test_turnout_check_shows_them_as_warnings(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    scaffold.write(folder, "lines")
    (folder / "device_config.json").write_bytes(msgspec.json.encode(trainer(epoch=5)))
    report = checking.examine(folder, trial=False)
    assert [warning for warning in report.warnings if "Android ignores epoch" in warning]


MOBILE = 'name = "x"\n[wire]\nform = "executorch"\n[stop]\nversions = 1\n'


def warned(folder: Path, job_toml: str = MOBILE, **files: Any) -> list[str]:
    """What turnout check says of the SDKs, for a job in their form; ``files`` are device configs by platform."""
    scaffold.write(folder, "lines")
    (folder / "job.toml").write_text(job_toml)
    (folder / "server.py").write_text("def evaluate(model):\n    return {}\ndef export(model):\n    return b''\n")
    for name, config in files.items():
        file = "device_config.json" if name == "all" else f"device_config.{name}.json"
        (folder / file).write_bytes(msgspec.json.encode(config))
    said = checking.examine(folder, trial=False).warnings
    return [line for line in said if any(sdk in line for sdk in ("Python", "Android", "iOS")) and ZEROS not in line]


def test_a_job_for_mobile_sdks_needs_no_file_and_its_settings_are_read_by_both(tmp_path: Path) -> None:
    settings = "[device]\nlearning_rate = 0.1\nbatch_size = 2\nepochs = 3\n"
    assert warned(tmp_path / "job", MOBILE + settings) == []


def test_one_file_serves_both_as_each_is_told_it_in_its_own_form(tmp_path: Path) -> None:
    assert warned(tmp_path / "1", all=trainer(epoch=5, batch_size=4, lr=0.1)) == []
    executor = {"type": "Executor.ETTrainerExecutor", "name": "trainer", "args": {"meta": {"learning_rate": 0.1}}}
    assert warned(tmp_path / "2", all=config(executor)) == []


def test_a_platforms_own_file_is_judged_by_that_sdk_and_named(tmp_path: Path) -> None:
    (found, other) = warned(tmp_path / "job", MOBILE + "[device]\nbatch_size = 4\n", android=trainer(epoch=5))
    assert found.startswith("device_config.android.json: Android ignores epoch in args")
    assert other == "job.toml: Android ignores [device]: it is sent device_config.android.json as it is"


def test_settings_that_ios_misreads_are_named(tmp_path: Path) -> None:
    settings = "[device]\nlearning_rate = 1.0\nepochs = 1.5\n"
    assert [
        line.partition(": not")[0].partition(": a number")[0] for line in warned(tmp_path / "job", MOBILE + settings)
    ] == [
        "job.toml: iOS misreads learning_rate under [device]",
        "job.toml: iOS misreads epochs under [device]",
    ]


@covers("config/method")
def test_the_batches_of_android_are_judged_with_the_method_that_the_file_says(tmp_path: Path) -> None:
    settings = MOBILE + "[device]\nbatch_size = 10\n"
    (found,) = warned(tmp_path / "1", settings)
    assert found.startswith("job.toml: Android refuses every task: its method is xor")
    assert warned(tmp_path / "2", settings, all=trainer(method="mlp")) == []


@pytest.mark.parametrize(("key", "value"), [("learning_rate", "0.1"), ("batch_size", None), ("total_epochs", True)])
def test_what_is_no_number_in_the_settings_of_androids_executor_is_misread(key: str, value: Any) -> None:
    executor = {"type": "Executor.ETTrainerExecutor", "name": "trainer", "args": {"meta": {key: value}}}
    assert f"Android misreads {key} in meta in args" in said(config(executor), "Android")


@covers("data/zeros")
def test_a_job_that_takes_iphones_is_told_that_their_sdk_trains_no_epoch(tmp_path: Path) -> None:
    refused = '[training]\nworkflow = "buffered"\nrefuse_zeros = true\n'
    android, ios = (f'[eligibility]\nplatforms = ["{name}"]\n' for name in ("Android", "ios"))
    for number, (settings, expected) in enumerate((("", 1), (android, 0), (ios, 1), (refused, 0))):
        folder = tmp_path / f"job-{number}"
        warned(folder, MOBILE + settings)
        warnings = checking.examine(folder, trial=False).warnings
        assert sum(ZEROS in line for line in warnings) == expected
