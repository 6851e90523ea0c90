"""A zip from outside decides nothing: neither where files are written nor how much."""

import io
import stat
import zipfile
from pathlib import Path

import pytest

from turnout.control import package
from turnout.errors import JobFolderError


def zipped(*files: tuple[str, bytes]) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return target


def unpack(source: io.BytesIO, folder: Path) -> None:
    package.unpack(source, len(source.getvalue()), folder)


def test_a_folder_comes_out_as_it_went_in_without_hidden_files(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    (folder / "data").mkdir(parents=True)
    (folder / "job.toml").write_text('name = "x"')
    (folder / "data" / "a.csv").write_text("1,2")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("x")
    packed = io.BytesIO()
    package.pack(folder, packed)
    unpack(packed, tmp_path / "out")
    found = {str(path.relative_to(tmp_path / "out")): path.read_text() for path in (tmp_path / "out").rglob("*.*")}
    assert found == {"job.toml": 'name = "x"', "data/a.csv": "1,2"}


@pytest.mark.parametrize(
    "name",
    [
        "../job.toml",
        "a/../../b",
        "/etc/passwd",
        "a//b",
        "./b",
        "C:\\b",
        "a\\b",
        "a/b/c/d/e",
        ".ssh/config",
        "b\x1b[2J",
        "b ",
        "ä.py",
        "x" * 101,
    ],
)
def test_a_name_that_is_not_plain_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobFolderError, match="not a file name that a job folder may have"):
        unpack(zipped(("job.toml", b""), (name, b"")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_is_refused(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("job.toml", b"")
        link = zipfile.ZipInfo("model.safetensors")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(JobFolderError, match="is a link"):
        unpack(target, tmp_path / "out")


def test_names_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JobFolderError, match="two files of one name"):
        unpack(zipped(("job.toml", b""), ("Job.toml", b"")), tmp_path / "out")


def test_a_zip_of_the_folder_instead_of_its_content_is_explained(tmp_path: Path) -> None:
    with pytest.raises(JobFolderError, match="zip what is in the job folder, not the folder itself"):
        unpack(zipped(("digits/job.toml", b"")), tmp_path / "out")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = zipped(("job.toml", b""), ("zeros.bin", bytes(package.RATIO_FREE_BYTES + (8 << 20))))
    with pytest.raises(JobFolderError, match="times its size"):
        unpack(bomb, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    many = [(f"f{number}", b"") for number in range(package.FILES_MAX)]
    with pytest.raises(JobFolderError, match=f"at most {package.FILES_MAX}"):
        unpack(zipped(("job.toml", b""), *many), tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(JobFolderError, match="not a zip file"):
        unpack(io.BytesIO(content), tmp_path / "out")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(("job.toml", b"name = 1234567890" * 10)).getvalue())
    content[40] ^= 0xFF
    with pytest.raises(JobFolderError):
        unpack(io.BytesIO(bytes(content)), tmp_path / "out")


def test_packing_a_missing_folder_names_it(tmp_path: Path) -> None:
    with pytest.raises(JobFolderError, match="no such folder"):
        package.pack(tmp_path / "missing", io.BytesIO())


def test_packing_a_folder_without_job_toml_says_so(tmp_path: Path) -> None:
    with pytest.raises(JobFolderError, match=r"has no job\.toml"):
        package.pack(tmp_path, io.BytesIO())
