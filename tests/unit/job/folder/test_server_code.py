"""Which functions a server.py has, told without running it."""

from pathlib import Path

import pytest

from turnout.errors import JobFolderError
from turnout.job.folder.server_code import has, names_in


def names(path: Path, text: str) -> frozenset[str]:
    file = path / "server.py"
    file.write_text(text)
    return names_in(file)


@pytest.mark.parametrize(
    "text",
    [
        "def export(model): ...",
        "export = print",
        "from elsewhere import write as export",
        "import export",
        "try:\n    from fast import export\nexcept ImportError:\n    export = None",
        "if True:\n    def export(model): ...",
        "export: object = print",
    ],
)
def test_a_function_is_found_however_it_is_defined(tmp_path: Path, text: str) -> None:
    assert has(names(tmp_path, text), "export")


@pytest.mark.parametrize(
    "text", ["", "def evaluate(model):\n    export = 1", "class Export:\n    def export(self): ...", "print(export)"]
)
def test_what_is_not_at_the_top_level_is_not_offered(tmp_path: Path, text: str) -> None:
    assert not has(names(tmp_path, text), "export")


def test_what_a_star_brings_may_be_anything(tmp_path: Path) -> None:
    assert has(names(tmp_path, "from elsewhere import *"), "export")


def test_the_code_is_not_run(tmp_path: Path) -> None:
    assert names(tmp_path, "def export(model): ...\nraise SystemExit") == {"export"}


def test_what_is_no_python_is_said_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(JobFolderError, match=r"server.py: not valid Python: .* \(line 2\)"):
        names(tmp_path, "x = 1\ndef export(")
    with pytest.raises(JobFolderError, match=r"server.py: not valid Python: "):
        names(tmp_path, "\0")
