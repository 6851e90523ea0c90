"""The job folder as a whole: what is read, what runs, and what a person is told who left something out."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.contract.flare.quirks import covers
from turnout.errors import JobFolderError
from turnout.job.folder.code import load_module
from turnout.job.folder.folder import DEVICE_CONFIG_DEPTH_MAX, JobFolder, load_job_folder
from turnout.job.journal.sqlite import SqliteJournal
from turnout.wire.tensors import flatten, schema_of, to_safetensors

JOB_TOML = 'name = "sum"\n[stop]\nversions = 1\n'
MODEL_PY = """
import numpy as np

def initial_model():
    return {"w": np.ones((2, 2), dtype=np.float32), "b": np.zeros(1, dtype=np.float32)}
"""


def folder(path: Path, **files: str) -> Path:
    (path / "job.toml").write_text(JOB_TOML)
    for stem, text in files.items():
        (path / stem.replace("__", ".")).write_text(text)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(JobFolderError) as error:
        load_job_folder(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def model_complaint(path: Path, body: str) -> str:
    return complaint(folder(path, model__py=f"import numpy as np\n\ndef initial_model():\n    {body}\n"))


def test_a_folder_with_a_model_in_code_is_loaded(tmp_path: Path) -> None:
    found = load_job_folder(folder(tmp_path, model__py=MODEL_PY))
    assert isinstance(found, JobFolder)
    assert found.spec.name == "sum"
    assert found.model.tolist() == [1, 1, 1, 1, 0]
    assert [(tensor.name, tensor.shape) for tensor in found.schema.tensors] == [("w", (2, 2)), ("b", (1,))]
    assert (found.device_config, found.server, found.device) == (None, None, None)


def test_the_optional_files_are_found(tmp_path: Path) -> None:
    found = load_job_folder(
        folder(tmp_path, model__py=MODEL_PY, device_config__json='{"a": [1]}', server__py="", device__py="")
    )
    assert found.device_config == {"a": [1]}
    assert (found.server, found.device) == (tmp_path / "server.py", tmp_path / "device.py")


def test_text_of_editors_on_windows_is_taken(tmp_path: Path) -> None:
    """A byte order mark and line ends of two characters, in every file that people write."""
    folder(tmp_path, model__py=MODEL_PY, device_config__json='{"a": 1}', server__py="def evaluate(model): return {}\n")
    for file in tmp_path.iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    found = load_job_folder(tmp_path)
    assert (found.spec.name, found.device_config, found.model.size) == ("sum", {"a": 1}, 5)
    assert found.has_hook("evaluate")
    assert callable(load_module(tmp_path / "server.py").evaluate)


def test_text_in_another_encoding_names_the_way_out(tmp_path: Path) -> None:
    (folder(tmp_path, model__py=MODEL_PY) / "job.toml").write_text(JOB_TOML, encoding="utf-16")
    assert complaint(tmp_path) == "job.toml: not UTF-8 text (byte 0); save it as UTF-8"


def test_a_given_model_is_a_warm_start(tmp_path: Path) -> None:
    arrays = {"w": np.array([3, 4], dtype=np.float32)}
    schema = schema_of(arrays)
    (tmp_path / "model.safetensors").write_bytes(to_safetensors(flatten(arrays, schema), schema))
    assert load_job_folder(folder(tmp_path, model__py=MODEL_PY)).model.tolist() == [3, 4]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert "no such folder" in complaint(tmp_path / "nowhere")
    assert "job.toml is missing" in complaint(tmp_path)
    assert "no initial model; expected is model.safetensors, or model.py" in complaint(folder(tmp_path))


@covers("hole-19")
def test_a_broken_device_config_is_refused(tmp_path: Path) -> None:
    told = complaint(folder(tmp_path, model__py=MODEL_PY, device_config__json='{"a": NaN}'))
    assert told.startswith("device_config.json: not valid JSON: ")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[0,{"a":', "}]")])
@pytest.mark.parametrize("times", [DEVICE_CONFIG_DEPTH_MAX, 985, 100_000])
def test_a_device_config_that_nests_too_deep_is_refused_in_one_line(
    tmp_path: Path, opening: str, closing: str, times: int
) -> None:
    text = "[" + opening * times + "1" + closing * times + "]"
    told = complaint(folder(tmp_path, model__py=MODEL_PY, device_config__json=text))
    assert told == "device_config.json: objects and lists are nested more than 64 deep; make it flatter"


def test_a_config_of_one_platform_is_read_by_itself_and_named_when_it_is_broken(tmp_path: Path) -> None:
    path = folder(tmp_path, model__py=MODEL_PY, device_config__json='{"a": 1}', device_config__ios__json="[2]")
    found = load_job_folder(path)
    assert (found.device_config, found.device_configs, found.own_configs) == ({"a": 1}, {"ios": [2]}, {"ios"})
    (path / "device_config.android.json").write_text("{")
    assert complaint(path).startswith("device_config.android.json: not valid JSON: ")


def test_a_device_config_may_nest_as_deep_as_the_bound(tmp_path: Path) -> None:
    text = "[" * DEVICE_CONFIG_DEPTH_MAX + "]" * DEVICE_CONFIG_DEPTH_MAX
    assert load_job_folder(folder(tmp_path, model__py=MODEL_PY, device_config__json=text)).device_config == [
        msgspec.json.decode(text[1:-1])
    ]


def test_a_broken_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    assert complaint(folder(tmp_path)).startswith("model.safetensors: it is not a safetensors file")


def test_code_that_does_not_run_is_refused_with_its_reason_and_line(tmp_path: Path) -> None:
    assert "SyntaxError" in complaint(folder(tmp_path, model__py="def initial_model(:\n"))
    assert "line 1" in complaint(folder(tmp_path, model__py="def initial_model(:\n"))
    assert complaint(folder(tmp_path, model__py="\nimport nowhere\n")) == (
        "model.py: ModuleNotFoundError: No module named 'nowhere' (line 2)"
    )
    assert model_complaint(tmp_path, "return np.ones(2) @ np.ones(3)").endswith("(line 4)")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return None", "initial_model() gave NoneType; expected is a dict of arrays by name"),
        ("return {}", "the model has no parameters"),
        ("return {'w': [1.0]}", "'w' is of type list; expected is an array of numpy"),
        (
            "return {'w': np.zeros(2, complex)}",
            'tensor "w" is complex128: floating point of 16, 32 or 64 bits is trained',
        ),
        ("return {'w': np.full(1, 1e300)}", 'tensor "w" is inf at position 0'),
        ("return {'n': np.zeros(2, int)}", "the model has no parameters"),
        ("return {'w': np.full(1, np.nan, np.float32)}", 'tensor "w" is nan at position 0'),
        ("return {1: np.zeros(2, np.float32)}", "a tensor named 1"),
        ("return {'__metadata__': np.zeros(2, np.float32)}", "a tensor named '__metadata__'"),
    ],
)
def test_a_model_that_is_none_is_refused(tmp_path: Path, body: str, words: str) -> None:
    told = model_complaint(tmp_path, body)
    assert told.startswith("model.py: initial_model()")
    assert words in told


def test_code_without_an_initial_model_is_refused(tmp_path: Path) -> None:
    assert "no function initial_model()" in complaint(folder(tmp_path, model__py="x = 1"))


def test_code_of_a_folder_may_use_dataclasses(tmp_path: Path) -> None:
    file = tmp_path / "device.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n"
    )
    assert load_module(file).Point(3).x == 3


def test_devices_speak_weights_unless_the_job_says_otherwise(tmp_path: Path) -> None:
    assert load_job_folder(folder(tmp_path, model__py=MODEL_PY)).schema.form == "weights"


def wire(path: Path, form: str, model: str, server: str = "") -> Path:
    made = folder(path, model__py=model, **({"server__py": server} if server else {}))
    (made / "job.toml").write_text(f'{JOB_TOML}[wire]\nform = "{form}"\n')
    return made


ONE_NUMBER = "import numpy as np\n\ndef initial_model():\n    return {'w': np.zeros((), np.float32)}\n"


def test_the_form_travels_with_the_schema(tmp_path: Path) -> None:
    assert load_job_folder(wire(tmp_path, "number", ONE_NUMBER)).schema.form == "number"


def test_a_number_is_a_model_of_one_parameter(tmp_path: Path) -> None:
    said = complaint(wire(tmp_path, "number", MODEL_PY))
    assert said == (
        'job.toml: form = "number" under [wire] is for a model of exactly one parameter; this one has 5; '
        'use form = "weights"'
    )


@pytest.mark.parametrize("server", ["", "def evaluate(model):\n    return {}\n"])
def test_executorch_needs_a_hook_that_exports(tmp_path: Path, server: str) -> None:
    said = complaint(wire(tmp_path, "executorch", MODEL_PY, server))
    assert 'form = "executorch" under [wire] needs a function export(model) -> bytes in server.py' in said


def test_with_its_hook_executorch_is_taken(tmp_path: Path) -> None:
    found = load_job_folder(wire(tmp_path, "executorch", MODEL_PY, "def export(model):\n    return b''\n"))
    assert found.schema.form == "executorch"
    assert found.has_hook("export")
    assert not found.has_hook("evaluate")


def test_an_unknown_form_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    said = complaint(wire(tmp_path, "onnx", MODEL_PY))
    assert said == 'job.toml: wire.form = "onnx": expected is "executorch" or "number" or "weights"'


def test_a_metric_needs_the_function_that_measures_it(tmp_path: Path) -> None:
    made = folder(tmp_path, model__py=MODEL_PY, server__py="def export(model):\n    return b''\n")
    (made / "job.toml").write_text(f'{JOB_TOML}[evaluation]\nmetric = "loss"\n')
    assert (
        complaint(made)
        == "job.toml: metric is what evaluate(model) in server.py measures; server.py has no such function"
    )


SEEDED = "import numpy as np\n\ndef initial_model(seed):\n    return {'w': np.full(1, seed, np.float32)}\n"


def test_one_seed_is_that_of_the_initial_model_and_of_training(tmp_path: Path) -> None:
    folder(tmp_path, model__py=SEEDED)
    (tmp_path / "job.toml").write_text("seed = 7\n" + JOB_TOML + "[device]\nepochs = 2\n")
    found = load_job_folder(tmp_path)
    assert (found.model.tolist(), found.spec.device_settings) == ([7], {"seed": 7, "epochs": 2})
    assert found.draws is None  # on a server the system chooses who is selected
    simulated = load_job_folder(tmp_path, seed=8)  # as turnout run --seed 8 does
    assert (simulated.model.tolist(), simulated.spec.device_settings["seed"], simulated.draws) == ([8], 8, 8)


def test_a_seed_of_the_devices_own_settings_stays(tmp_path: Path) -> None:
    folder(tmp_path, model__py=MODEL_PY)
    (tmp_path / "job.toml").write_text("seed = 7\n" + JOB_TOML + "[device]\nseed = 1\n")
    assert load_job_folder(tmp_path).spec.device_settings == {"seed": 1}


def test_two_jobs_of_one_seed_have_different_keys(tmp_path: Path) -> None:
    """Else whoever knows the seed could seal tasks that were never given out."""
    folder(tmp_path, model__py=SEEDED)
    keys = set()
    for name in ("a", "b"):
        assert load_job_folder(tmp_path, seed=7).draws == 7
        (tmp_path / name).mkdir()
        journal = SqliteJournal(tmp_path / name, name)
        keys.add(bytes(journal.key))
        journal.close()
    assert len(keys) == 2
