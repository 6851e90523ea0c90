"""Nothing of a server may be opened by other accounts of its machine, in no part of its life, whatever the umask."""

import io
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.device import job_folder
from tests.end_to_end.server import eventually, server
from tests.end_to_end.test_server import state_of, train
from turnout.client.view import JobState
from turnout.job.folder import package
from turnout.storage import private
from turnout.transport import socket_folder

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """All that is made may be read and written by everybody, unless somebody sees to it."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_files(*places: Path) -> list[Path]:
    return [path for place in places for path in (place, *place.rglob("*")) if private.is_open(path)]


def test_nothing_of_a_server_is_open_to_others_in_its_whole_life(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    out.mkdir()
    with server(data, umask=0) as running:
        job_id = running.client.submit(job_folder(tmp_path / "job", versions=1000)).job_id
        train(running, 2, job_id)
        assert not open_files(data, *(root / str(running.port) for root in socket_folder.roots(data)))
        running.client.model(job_id, out / "model.safetensors")
        running.client.model(job_id, out / "model.npz", form="npz")
        running.client.backup(job_id, out / "backup")
        running.client.cancel(job_id)
        eventually("cancelled", lambda: state_of(running, job_id) is JobState.CANCELLED)
        assert not open_files(data)
        running.client.restore(job_id, out / "backup")
        train(running, 4, job_id)
        assert not open_files(data)
    assert not [path for path in (*data.rglob("*"), *out.iterdir()) if private.is_open(path)]


def test_a_data_folder_that_an_earlier_release_left_open_is_closed_and_that_is_said(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "jobs").mkdir(parents=True)
    (data / "jobs" / "old").touch()
    with server(data) as running:
        running.wait_line(r"was open to other accounts .* 3 files and folders are closed now")
        assert not open_files(data)


def zip_of(folder: Path) -> bytes:
    packed = io.BytesIO()
    package.pack(folder, packed)
    return packed.getvalue()


def test_another_account_runs_no_code_and_the_owner_s_job_sees_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SECRET", "abc")
    folder = job_folder(tmp_path / "job", versions=1)
    code = (folder / "model.py").read_text()
    (folder / "model.py").write_text(f'import os, sys\nprint("ran", *os.environ, file=sys.stderr)\n{code}')
    with server(tmp_path / "data") as running:
        upload = urllib.request.Request(
            f"{running.api_url}/api/jobs", zip_of(folder), {"Content-Type": "application/zip"}
        )
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(upload, timeout=20)
        assert not [line for line in running.lines if "ran" in line.split()]
        running.client.submit(folder)
        for process in ("control", "job tiny"):
            line = running.wait_line(rf"^\[{process}.* ran ")
            assert " PATH " in line
            assert "CLOUD_SECRET" not in line
