"""Files of a job folder import what lies beside them, and nothing of another job's."""

import sys
from pathlib import Path

import pytest

from turnout.cli import checking, scaffold
from turnout.errors import JobFolderError
from turnout.job.folder.code import load_module


def folder(path: Path, **modules: str) -> Path:
    path.mkdir()
    for stem, text in modules.items():
        (path / f"{stem}.py").write_text(text)
    return path


def test_a_module_of_the_folder_is_shared_by_all_its_files(tmp_path: Path) -> None:
    """In each of the processes that run them; also where it is imported only when a function is called."""
    job = tmp_path / "job"
    scaffold.write(job, "lines")
    (job / "parts").mkdir()
    (job / "parts" / "net.py").write_text("SIZE = 2\n")
    for file in ("model.py", "device.py", "server.py"):
        code = (job / file).read_text()
        (job / file).write_text(code.replace("import numpy as np", "import numpy as np\nfrom parts.net import SIZE", 1))
    with (job / "server.py").open("a") as code:
        code.write("\n\ndef weigh(result):\n    import parts.net\n    return parts.net.SIZE\n")
    trial = checking.examine(job).trial
    assert trial is not None
    assert trial.fleet is not None
    assert trial.hooks == ("evaluate", "weigh")
    assert trial.fleet.trained == 5


def test_each_folder_has_modules_of_its_own(tmp_path: Path) -> None:
    first = folder(tmp_path / "a", net="SIZE = 1\n", model="import net\nSIZE = net.SIZE\n")
    second = folder(tmp_path / "b", net="SIZE = 2\n", model="import net\nSIZE = net.SIZE\n")
    before = list(sys.path)
    assert [load_module(each / "model.py").SIZE for each in (first, second, first)] == [1, 2, 1]
    assert [entry for entry in sys.path if entry not in before] == [str(first)]


def test_a_file_named_like_one_of_the_standard_library_hides_nothing(tmp_path: Path) -> None:
    job = folder(
        tmp_path / "a", mailcap_of_ours="X = 1\n", colorsys="X = 1\n", model="import colorsys, mailcap_of_ours\n"
    )
    module = load_module(job / "model.py")
    assert hasattr(module.colorsys, "rgb_to_hls")
    assert module.mailcap_of_ours.X == 1


def test_a_file_that_is_no_python_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.txt").touch()
    with pytest.raises(JobFolderError, match=r"model\.txt: not a Python file; its name must end in \.py"):
        load_module(tmp_path / "model.txt")
