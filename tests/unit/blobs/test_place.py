"""Where the models of a job are read, and by what names."""

from pathlib import Path

import pytest

from turnout.blobs.base import OpenBlob
from turnout.blobs.place import MAPPED_BYTES_MIN, source_of, sources_of
from turnout.messages import RunningJob

NAME = "ab" * 32


def opened(folder: Path, name: str, suffix: str = ".safetensors") -> OpenBlob:
    source = source_of(str(folder))
    assert source is not None
    return source.open(name, suffix)


@pytest.mark.parametrize("size", [0, 5, MAPPED_BYTES_MIN, MAPPED_BYTES_MIN + 1])
def test_a_model_is_read_by_its_sha256(tmp_path: Path, size: int) -> None:
    (tmp_path / f"{NAME}.safetensors").write_bytes(b"m" * size)

    model = opened(tmp_path, NAME)

    assert (model.num_bytes, b"".join(model.chunks)) == (size, b"m" * size)


def test_what_was_made_of_a_model_is_read_under_the_model_s_name(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.pte").write_bytes(b"made")

    assert b"".join(opened(tmp_path, NAME, ".pte").chunks) == b"made"
    with pytest.raises(FileNotFoundError):
        opened(tmp_path, NAME)


@pytest.mark.parametrize("name", ["", "ab", "AB" * 32, "../" + "ab" * 31, "ab" * 32 + "\n", "zz" * 32, "cd" * 32])
def test_what_names_no_model_is_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{NAME}.safetensors").write_bytes(b"model")

    with pytest.raises(FileNotFoundError):
        opened(tmp_path, name)


def test_jobs_are_found_as_they_are_when_a_model_is_wanted(tmp_path: Path) -> None:
    jobs = {"bare": RunningJob("bare", "bare")}
    find = sources_of(jobs)
    assert find("bare") is None
    assert find("a") is None

    jobs["a"] = RunningJob("a", "a", blobs=str(tmp_path))

    assert find("a") is not None
