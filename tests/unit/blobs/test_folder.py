"""Models as files named by their sha256."""

import hashlib
from pathlib import Path

import pytest

from turnout.blobs.folder import BlobStore


def test_a_blob_is_found_under_its_sha256(tmp_path: Path) -> None:
    ref = BlobStore(tmp_path).put(b"model")
    assert ref.sha256 == hashlib.sha256(b"model").hexdigest()
    assert ref.num_bytes == 5
    assert (tmp_path / f"{ref.sha256}.safetensors").read_bytes() == b"model"


def test_a_blob_that_is_there_in_part_is_written_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    ref = store.put(b"model")
    store.path(ref.sha256).write_bytes(b"mod")
    store.put(b"model")
    assert store.path(ref.sha256).read_bytes() == b"model"


def test_a_blob_that_is_not_what_was_stored_is_not_read(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    ref = store.put(b"model")
    assert store.read(ref) == b"model"
    store.path(ref.sha256).write_bytes(b"madel")
    with pytest.raises(OSError, match="its sha256 is not its name"):
        store.read(ref)


def test_a_dropped_blob_is_gone_and_may_be_dropped_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    ref = store.put(b"model")
    store.drop(ref)
    store.drop(ref)
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_process_left_goes_but_for_what_is_wanted(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    kept, left = store.put(b"kept"), store.put(b"left")
    (tmp_path / "half.unfinished").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("a person's")
    store.keep_only({kept.sha256})
    assert store.path(kept.sha256).exists()
    assert not store.path(left.sha256).exists()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".safetensors", ".txt"]


def test_what_was_made_of_a_model_lies_beside_it_and_goes_with_it(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    ref = store.put(b"model")
    assert not store.has_export(ref.sha256)
    store.put_export(ref.sha256, b"pte", lambda num_bytes: None)
    assert store.has_export(ref.sha256)
    assert (tmp_path / f"{ref.sha256}.pte").read_bytes() == b"pte"
    store.drop(ref)
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_process_made_of_a_model_stays_with_it(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    kept, left = store.put(b"kept"), store.put(b"left")
    for ref in (kept, left):
        store.put_export(ref.sha256, b"pte", lambda num_bytes: None)
    store.keep_only({kept.sha256})
    assert store.has_export(kept.sha256)
    assert not store.has_export(left.sha256)


def test_what_the_disk_may_not_take_is_not_written(tmp_path: Path) -> None:
    def allow(num_bytes: int) -> None:
        raise OSError(f"{num_bytes} bytes are too many")

    with pytest.raises(OSError, match="3 bytes"):
        BlobStore(tmp_path).put_export("ab" * 32, b"pte", allow)
    assert list(tmp_path.iterdir()) == []
