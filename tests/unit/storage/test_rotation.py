"""A file that begins anew when it is full."""

from pathlib import Path

from turnout.storage.rotation import append, older


def test_a_full_log_begins_anew_and_its_older_part_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    for line in (b"one\n", b"two\n", b"three\n", b"four\n"):
        append(path, line, bytes_max=8)
    assert path.read_bytes() == b"four\n"
    assert older(path).read_bytes() == b"three\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log.older.txt", "log.txt"]
