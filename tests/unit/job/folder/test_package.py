"""A zip from outside decides nothing: neither where files are written nor how much."""

import io
import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from turnout.errors import JobFolderError
from turnout.job.folder import package


def zipped(*files: tuple[str, bytes]) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return target


def declaring(source: io.BytesIO, size: int, declared: int) -> io.BytesIO:
    """The same zip, in whose list of files those of one size have another."""
    content = bytearray(source.getvalue())
    at = 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        if int.from_bytes(content[at + 24 : at + 28], "little") == size:
            content[at + 24 : at + 28] = declared.to_bytes(4, "little")
        at += 4
    return io.BytesIO(bytes(content))


def unpack(source: io.BytesIO, folder: Path) -> None:
    package.unpack(source, folder)


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
        "..",
        ".git/../../b",
        "b\x1b[2J",
        "b\u2028",
        "/".join("a" * 33),
        "x" * 256,
        "/".join(["x" * 200] * 6),
    ],
)
def test_a_name_that_leads_elsewhere_or_cannot_be_shown_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobFolderError, match="not a name that a job folder's file may have"):
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


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_a_name_that_is_there_twice_or_as_file_and_folder_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library that writes such a zip
        twice = zipped(("job.toml", b""), *((name, b"") for name in names))
    with pytest.raises(JobFolderError, match=r"two files of one name|is there twice, or as a file and as a folder"):
        unpack(twice, tmp_path / "out")


def test_names_as_people_give_them_are_taken(tmp_path: Path) -> None:
    names = ["my notes (1).md", "données.csv", "c++.txt", "a/b/c/d/e.txt", "Job.toml", "at 9.41\u202fAM.png", "x" * 255]
    unpack(zipped(("job.toml", b""), *((name, b"1") for name in names)), tmp_path / "out")
    assert all((tmp_path / "out" / name).read_bytes() == b"1" for name in names)


def test_what_tools_add_to_a_zip_is_not_unpacked(tmp_path: Path) -> None:
    added = [(".DS_Store", b""), ("__MACOSX/._job.toml", b""), (".ssh/config", b""), ("__pycache__/m.pyc", b"")]
    unpack(zipped(("job.toml", b""), *added), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["job.toml"]


def test_a_zip_of_the_folder_instead_of_its_content_is_explained(tmp_path: Path) -> None:
    with pytest.raises(JobFolderError, match="zip what is in the job folder, not the folder itself"):
        unpack(zipped(("digits/job.toml", b"")), tmp_path / "out")


def test_zeros_are_no_bomb(tmp_path: Path) -> None:
    unpack(zipped(("job.toml", b""), ("model.safetensors", bytes(16 << 20))), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == 16 << 20


def test_what_unpacks_to_more_than_the_disk_shall_give_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    small = zipped(("job.toml", b""), ("zeros.bin", bytes(1000)))
    huge = declaring(small, 1000, package.UNPACKED_BYTES_MAX + 1)
    with pytest.raises(JobFolderError, match=rf"at most {package.UNPACKED_BYTES_MAX} .*largest is 'zeros.bin'"):
        unpack(huge, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_is_never_larger_than_it_says(tmp_path: Path) -> None:
    lying = declaring(zipped(("job.toml", b""), ("zeros.bin", bytes(70_000))), 70_000, 10)
    with pytest.raises(JobFolderError):
        unpack(lying, tmp_path / "out")


def test_room_is_asked_for_before_anything_is_written(tmp_path: Path) -> None:
    asked = []

    def full(num_bytes: int) -> None:
        asked.append(num_bytes)
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        package.unpack(zipped(("job.toml", b"12"), ("x", b"345")), tmp_path / "out", full)
    assert asked == [5]
    assert not (tmp_path / "out").exists()


def test_the_list_of_files_is_bounded_before_it_is_read(tmp_path: Path) -> None:
    """A zip of no bytes may list any number of them: each takes twenty times as much memory as it does there."""
    long = [(f"{'x' * 200}/{'y' * 200}/{number}", b"") for number in range(9500)]
    with pytest.raises(JobFolderError, match="the zip's list of files has"):
        unpack(zipped(("job.toml", b""), *long), tmp_path / "out")


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


def test_what_is_packed_is_what_a_server_takes(tmp_path: Path) -> None:
    """Files that no zip can carry stay here, each with the reason; nothing of that refuses the folder."""
    folder = tmp_path / "job"
    (folder / "venv" / "lib").mkdir(parents=True)
    (folder / "mine").mkdir()
    (folder / "mine" / "pyvenv.cfg").touch()
    for name in ("job.toml", "job.toml~", "a b.md", "back\\slash", "venv/lib/x.py", "data.csv"):
        (folder / name).touch()
    (folder / "link").symlink_to("nowhere")
    (folder / "up").symlink_to(tmp_path)
    (folder / "data link").symlink_to(folder / "data.csv")
    packed = io.BytesIO()
    left_out = package.pack(folder, packed)
    assert sorted(left_out) == [
        "back\\slash: a backslash or a character that cannot be printed in its name",
        "job.toml~: an editor's backup",
        "link: a link to nothing",
        "mine/, venv/: an environment",
        "up/: a link to a folder",
    ]
    unpack(packed, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a b.md", "data link", "data.csv", "job.toml"]


def test_more_than_a_thousand_files_are_packed_and_too_many_name_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "job.toml").touch()
    for number in range(1100):
        (tmp_path / f"f{number}").touch()
    assert package.pack(tmp_path, io.BytesIO()) == ()
    (tmp_path / "large").write_bytes(b"123")
    for number in range(package.FILES_MAX):
        (tmp_path / f"g{number}").touch()
    with pytest.raises(JobFolderError, match=r"\.turnoutignore \(the largest is 'large', 3 bytes\)"):
        package.pack(tmp_path, io.BytesIO())
    (tmp_path / ".turnoutignore").write_bytes(b"\xef\xbb\xbfg*\r\n")
    assert package.pack(tmp_path, io.BytesIO()) == (f"g0, g1, g10 and {package.FILES_MAX - 3:,} more: .turnoutignore",)


def test_a_job_toml_that_is_left_out_is_explained(tmp_path: Path) -> None:
    (tmp_path / "job.toml").touch()
    (tmp_path / ".turnoutignore").write_text("*.toml\n")
    with pytest.raises(JobFolderError, match=r"has no job\.toml.*: job\.toml: \.turnoutignore"):
        package.pack(tmp_path, io.BytesIO())
