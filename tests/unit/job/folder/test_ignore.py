"""What a line of ``.turnoutignore`` names, as ``.gitignore`` has it."""

import pytest

from turnout.job.folder.ignore import Ignore


@pytest.mark.parametrize(
    ("text", "named", "others"),
    [
        ("*.csv", ["a.csv", "x/a.csv"], ["a.csv.gz", "csv"]),
        ("notes", ["notes", "x/y/notes"], ["notes.md", "my notes"]),
        ("/notes", ["notes"], ["x/notes"]),
        ("data/raw", ["data/raw"], ["x/data/raw", "raw"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["z", "az"]),
        ("**/logs", ["logs", "a/logs"], ["logsx"]),
        ("logs/**", ["logs/a", "logs/a/b"], ["logs"]),
        ("f?.txt", ["f1.txt"], ["f.txt", "f/.txt"]),
        ("f[0-9]", ["f1"], ["fa", "f"]),
        ("f[!0-9]", ["fa"], ["f1", "f/"]),
        (r"\#x", ["#x"], ["x"]),
        ("a.b", ["a.b"], ["axb"]),
        ("# all\n\n*.md\n!README.md", ["a.md"], ["README.md", "# all"]),
        ("*.md   \r\n", ["a.md"], []),
    ],
)
def test_a_pattern_names_these_paths_and_not_those(text: str, named: list[str], others: list[str]) -> None:
    ignore = Ignore(text)
    assert [path for path in named + others if ignore.names(path, is_folder=False)] == named


def test_a_slash_at_the_end_is_for_folders() -> None:
    ignore = Ignore("build/")
    assert ignore.names("a/build", is_folder=True)
    assert not ignore.names("a/build", is_folder=False)


def test_a_later_line_takes_back_what_an_earlier_one_named() -> None:
    assert not Ignore("venv/\n!venv/").names("venv", is_folder=True)
    assert Ignore("!venv/\nvenv/").names("venv", is_folder=True)


@pytest.mark.parametrize("bad", ["data[z-a]", "data[9-0].csv", "!keep[z-a]"])
def test_a_line_with_a_range_from_high_to_low_names_nothing_and_others_still_do(bad: str) -> None:
    ignore = Ignore(f"{bad}\n*.log\n")
    assert not any(ignore.names(path, False) for path in ("dataz", "data[z-a]", "data9.csv", "keepz"))
    assert ignore.names("a.log", False)
