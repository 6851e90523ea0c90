"""``turnout check`` says what a job folder is, and what in its settings may not be meant."""

import os
from pathlib import Path

import msgspec
import pytest

from turnout.cli import checking, scaffold
from turnout.cli.advice import advice, norms, stop_rule, training
from turnout.cli.base import Sizes
from turnout.cli.fleet_trial import try_fleet
from turnout.control import check as control_check
from turnout.errors import JobFolderError
from turnout.job.folder.folder import load_job_folder
from turnout.job.folder.spec import JobSpec


def spec(stop: object = None, **tables: object) -> JobSpec:
    return msgspec.convert({"name": "x", "stop": stop or {"versions": 5, "time_s": 60.0}, **tables}, JobSpec)


def warnings(given: JobSpec, *, evaluates: bool = True, has_device: bool = True) -> list[str]:
    return list(advice(given, evaluates=evaluates, has_device=has_device))


def test_the_defaults_need_no_warning() -> None:
    assert warnings(spec()) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (spec(training={"workflow": "buffered", "concurrency": 5, "buffer_goal": 6}), "above concurrency = 5"),
        (spec(training={"workflow": "buffered", "concurrency": 100, "staleness_max": 0}), "its result is refused"),
        (spec(training={"workflow": "rounds", "quorum": 1.0, "over_selection": 1.0}), "one that is lost delays all"),
        (spec(training={"workflow": "rounds", "deadline_s": 1.0}), "keeps its place to the end of the round"),
        (spec({"versions": 5}), "it ends only when 80 results have come"),
        (spec({"versions": 5}, training={"workflow": "rounds"}), "until a person resumes it"),
        (spec({"time_s": 1e7}), "it ends only by time_s, after 116 d"),
        (spec(selection={"kind": "checkin", "participation_interval_s": 60.0}), "each device trains only once"),
        (spec(evaluation={"every": 0}), "nothing is measured"),
        (spec(pacing={"check_ins_per_s": 1.0, "wait_max_s": 10.0}), "raise check_ins_per_s"),
    ],
)
def test_settings_that_may_not_be_meant_are_warned_of(given: JobSpec, words: str) -> None:
    assert any(words in warning for warning in warnings(given)), warnings(given)


def test_missing_code_is_warned_of() -> None:
    no_server, no_device = warnings(spec(), evaluates=False, has_device=False)
    assert "write evaluate(model)" in no_server
    assert "no device.py" in no_device


def test_the_workflow_and_the_stop_rule_are_told_in_words() -> None:
    assert training(spec()) == "a version closes with 16 results; at most 100 devices train"
    rounds = spec(training={"workflow": "rounds", "cohort": 10, "over_selection": 1.5})
    assert training(rounds) == "a round asks 15 devices and closes with 10 results, after 60 s with 5"
    assert stop_rule(spec()) == "versions = 5 or time_s = 60"


def test_a_folder_is_read_in_another_process(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    scaffold.write(folder, "lines")
    with (folder / "model.py").open("a") as code:
        code.write("\nprint('this is no answer')\n")
    report = checking.examine(folder)
    assert (report.name, report.parameters, report.workflow, report.warnings) == ("lines", 3, "buffered", ())
    assert [(tensor.name, tensor.shape) for tensor in report.tensors] == [("weights", (2,)), ("bias", (1,))]
    assert report.model_bytes == 12
    lines = checking.lines(report)
    assert "3 parameters: weights 2, bias 1" in lines[1]
    assert report.trial is not None
    assert sorted(report.trial.metrics) == ["accuracy", "loss"]
    fleet = report.trial.fleet
    assert fleet is not None
    assert (fleet.devices, fleet.trained, fleet.examples_min, fleet.examples_max) == (100, 5, 30, 30)
    assert len(fleet.update_norms) == 3
    assert "tried     evaluate of server.py" in lines
    assert checking.examine(folder, trial=False).trial is None
    assert lines[-1] == f"it can be run: turnout run {folder}"


@pytest.mark.parametrize("code", ["\n1 / 0\n", "\ndef trainer(index, devices, seed): return 1 / 0\n"])
def test_the_line_that_fails_is_named_where_the_folder_is_given_by_a_relative_path(tmp_path: Path, code: str) -> None:
    folder = tmp_path / "job"
    scaffold.write(folder, "lines")
    (folder / "device.py").write_text(code)
    with pytest.raises(JobFolderError, match=r"division by zero \(line 2\)"):
        checking.examine(Path(os.path.relpath(folder)))


def test_a_folder_that_nobody_can_simulate_is_for_a_server(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    scaffold.write(folder, "lines")
    (folder / "device.py").unlink()
    assert checking.lines(checking.examine(folder))[-1].endswith(f": turnout submit {folder}")


def test_code_that_takes_too_long_to_try_is_not_held_against_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    scaffold.write(folder, "lines")
    assert checking.try_code(folder)
    (folder / "device.py").write_text("import signal\nsignal.pause()\n")
    assert not checking.try_code(folder, timeout_s=0.5)


def test_what_stays_here_is_told_and_refuses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    scaffold.write(folder, "lines")
    for name in ("job.toml~", "notes.md", "my data.csv"):
        (folder / name).touch()
    (folder / ".turnoutignore").write_text("*.md\n")
    report = checking.examine(folder, trial=False)
    assert report.left_out == ("job.toml~: an editor's backup", "notes.md: .turnoutignore")
    lines = checking.lines(report)
    assert "from device.py, job.toml, model.py, server.py and 3 other files" in lines[0]
    assert "left out  notes.md: .turnoutignore" in lines


@pytest.mark.parametrize(("bound", "words"), [(1.9, "less than 2 times 1"), (101.0, "it bounds little"), (2.0, "")])
def test_a_bound_of_norms_is_held_against_those_of_honest_updates(bound: float, words: str) -> None:
    found = list(norms(spec(training={"workflow": "buffered", "update_norm_max": bound}), (1.0, 0.2)))
    assert len(found) == bool(words)
    assert words in "".join(found)


def test_a_folder_is_tried_with_devices_of_its_fleet(tmp_path: Path) -> None:
    """Only numbers divisible by four have examples; each pulls to 30, and the server goes half the way."""
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "job.toml").write_text(
        'name = "x"\noptimizer = {name = "sgd", learning_rate = 0.5}\nstop = {time_s = 9}\n'
    )
    (folder / "model.py").write_text(
        "import numpy as np\n\n\ndef initial_model():\n    return {'w': np.zeros(1, np.float32)}\n"
    )
    (folder / "device.py").write_text(
        "import turnout\n\n\nclass Pulls:\n    def __init__(self, number):\n        self.number = number\n\n"
        "    def train(self, model, config):\n        if self.number % 4:\n            raise turnout.NoExamples\n"
        "        return turnout.Update({'w': 30.0 - model['w']}, self.number + 1)\n\n\n"
        "def trainer(index, devices, seed):\n    assert devices == 31\n    return Pulls(index)\n"
    )
    fleet = try_fleet(load_job_folder(folder), folder / "device.py", 31)
    assert (fleet.devices, fleet.trained) == (31, 5)
    assert fleet.sat_out == 10  # 6, 18, 30, then 1, 7, 13, 19, 25, then 2, 14
    assert fleet.update_norms == (30.0, 15.0, 7.5)
    assert fleet.examples_max > fleet.examples_min


def test_a_fleet_without_any_examples_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    scaffold.write(folder, "lines")
    (folder / "device.py").write_text(
        "import numpy as np\nfrom turnout.device.trainers.numpy_trainer import NumpyTrainer\n\n\n"
        "def trainer(index, devices, seed):\n    return NumpyTrainer(np.zeros((0, 2)), np.zeros(0, int))\n"
    )
    with pytest.raises(JobFolderError, match="none of the 7 devices has any examples"):
        checking.examine(folder, devices=7)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os\nos._exit(7)\n", "ended with exit code 7"),
        ("def initial_model():\n    return 1\n", "expected is a dict"),
        ("1 / 0\n", r"ZeroDivisionError: division by zero \(line 1\)"),
    ],
)
def test_a_folder_that_cannot_be_run_is_one_line(tmp_path: Path, code: str, words: str) -> None:
    folder = tmp_path / "job"
    scaffold.write(folder, "lines")
    (folder / "model.py").write_text(code)
    with pytest.raises(JobFolderError, match=words) as caught:
        checking.examine(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        (
            "server.py",
            "def evaluate(model):\n    return model['w'].mean()\n",
            r"^server.py: evaluate: KeyError: 'w' \(line 2\)$",
        ),
        (
            "server.py",
            "def evaluate(model):\n    return {'loss': 1.0}\n",
            'returned loss; .evaluation. metric is "accuracy"',
        ),
        ("server.py", "def evaluate(model):\n    return 1\n", "evaluate must return a dict"),
        ("server.py", "x = 1\n", r"metric is what evaluate\(model\) in server.py measures"),
        ("device.py", "x = 1\n", r"device.py has no function trainer\(index, devices, seed\)"),
        ("device.py", "def trainer(index, devices, seed):\n    pass\n", "device.py: train: AttributeError"),
    ],
)
def test_code_that_does_not_run_is_one_line(tmp_path: Path, file: str, code: str, words: str) -> None:
    scaffold.write(tmp_path, "lines")
    (tmp_path / file).write_text(code)
    with pytest.raises(JobFolderError, match=words):
        checking.examine(tmp_path)


@pytest.mark.parametrize(
    ("num_bytes", "words"), [(12, "12 bytes"), (1200, "1.2 kB"), (123456, "123 kB"), (2.5e6, "2.5 MB"), (3e9, "3.0 GB")]
)
def test_sizes_are_told_in_a_unit_that_suits_them(num_bytes: float, words: str) -> None:
    assert checking.size(num_bytes) == words


WEIGHTS_TOML = 'name = "large"\n[stop]\nversions = 1\n'


def large(folder: Path, numbers: int) -> Path:
    (folder / "job.toml").write_text(WEIGHTS_TOML)
    code = f"import numpy as np\n\ndef initial_model():\n    return {{'w': np.zeros({numbers}, np.float32)}}\n"
    (folder / "model.py").write_text(code)
    return folder


def test_a_model_too_large_for_json_is_warned_of_unless_the_server_is_told_to_send_it(tmp_path: Path) -> None:
    """32 MiB are 8 Mi numbers of four bytes; the names and shapes come on top."""
    folder = large(tmp_path, 8 * 2**20)
    (warning,) = (words for words in checking.read(folder, 0).warnings if "JSON" in words or "safetensors" in words)
    assert "turnout up --weights-model-bytes-max 33620" in warning
    assert '"accept": ["safetensors"]' in warning
    raised = checking.examine(folder, trial=False, sizes=Sizes(weights_model_bytes_max=34_000_000))
    assert not any("safetensors" in words for words in raised.warnings)


def test_a_model_whose_results_do_not_fit_as_json_is_warned_of(tmp_path: Path) -> None:
    """100,000 numbers of 28 bytes."""
    report = checking.read(large(tmp_path, 100_000), 0, Sizes(result_bytes_max=2_000_000))
    (warning,) = (words for words in report.warnings if "safetensors" in words)
    assert "turnout up --result-bytes-max 2865" in warning


@pytest.mark.parametrize(
    ("numbers", "client", "server"),
    [(200_000, False, False), (210_000, True, False), (820_000, True, True)],  # of 20.6 bytes
)
def test_a_model_that_clients_of_grpc_do_not_take_is_warned_of(
    tmp_path: Path, numbers: int, client: bool, server: bool
) -> None:
    words = " ".join(checking.read(large(tmp_path, numbers), 0).warnings)
    assert ("clients take 4,194,304" in words) == client
    assert ("--grpc-message-bytes-max" in words) == server


def test_a_model_that_is_not_sent_as_numbers_in_json_has_no_such_bound(tmp_path: Path) -> None:
    folder = large(tmp_path, 210_000)
    (folder / "job.toml").write_text(WEIGHTS_TOML + '[wire]\nform = "executorch"\n')
    assert "gRPC" not in " ".join(checking.read(folder, 0).warnings)


def test_the_bound_of_results_that_was_assumed_is_told(tmp_path: Path) -> None:
    folder = large(tmp_path, 1000)
    assert any("takes 268 MB (its --result-bytes-max)" in line for line in checking.lines(checking.read(folder, 0)))
    report = checking.read(folder, 0, Sizes(result_bytes_max=1_000_000))
    assert any("takes 1.0 MB (its --result-bytes-max)" in line for line in checking.lines(report))
    refused = checking.read(folder, 0, Sizes(result_bytes_max=1000)).error
    assert "1,000 are allowed" in refused
    assert "given to this command" in refused


def executorch(folder: Path, server: str) -> None:
    scaffold.write(folder, "lines")
    (folder / "job.toml").write_text('name = "lines"\n[wire]\nform = "executorch"\n[stop]\nversions = 1\n')
    (folder / "device.py").unlink()
    (folder / "server.py").write_text(server)


def test_an_export_is_tried_once(tmp_path: Path) -> None:
    executorch(tmp_path / "job", "def export(model):\n    return model['weights'].tobytes()\n")
    assert not checking.examine(tmp_path / "job").error


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("def export(model):\n    return None\n", "server.py: export: export returned NoneType"),
        ("def export(model):\n    return model['v']\n", r"server.py: export: KeyError: 'v' \(line 2\)"),
        ("def evaluate(model):\n    return {}\n", r"needs a function export\(model\) -> bytes"),
        ("export = 1\n", r"server.py has no function export\(model\)"),
    ],
)
def test_an_export_that_does_not_run_is_one_line(tmp_path: Path, server: str, words: str) -> None:
    executorch(tmp_path / "job", server)
    with pytest.raises(JobFolderError, match=words):
        checking.examine(tmp_path / "job")


def test_a_server_py_without_any_hook_is_a_mistake(tmp_path: Path) -> None:
    scaffold.write(tmp_path / "job", "lines")
    (tmp_path / "job" / "job.toml").write_text('name = "lines"\n[stop]\nversions = 1\n')
    (tmp_path / "job" / "server.py").write_text("def evaluat(model):\n    return {}\n")
    with pytest.raises(JobFolderError, match="has none of the functions evaluate, export, select, weigh"):
        checking.examine(tmp_path / "job")


def test_a_model_whose_results_no_server_takes_by_default_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text('name = "large"\n[stop]\nversions = 1\n')
    (tmp_path / "model.py").write_text(
        "import numpy as np\ndef initial_model():\n    return {'w': np.zeros(67_200_000, np.float32)}\n"
    )
    report = checking.read(tmp_path, 0)
    assert "--result-bytes-max 268865" in report.error
    assert "by default" in report.error
    assert "--result-bytes-max" in control_check.read(tmp_path).error
    assert control_check.read(tmp_path, 300_000_000).job is not None
    assert not checking.read(tmp_path, 0, Sizes(result_bytes_max=300_000_000)).error
