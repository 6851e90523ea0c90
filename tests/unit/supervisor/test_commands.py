"""What a job's process gets of the environment: what its code needs, and nothing that is a secret by chance."""

import pytest

from turnout.process.environment import environment, job_environment

NEEDED = {"PATH": "/bin", "HOME": "/root", "LC_ALL": "C", "PYTHONPATH": "/x", "CUDA_VISIBLE_DEVICES": "0"}
SECRET = {"AWS_SECRET_ACCESS_KEY": "a", "TURNOUT_TOKEN": "b", "DATABASE_URL": "c", "GITHUB_TOKEN": "d", "path": "e"}


def test_a_job_gets_what_is_on_the_list_and_what_is_meant_for_it() -> None:
    meant = {"TURNOUT_JOB_DATA": "/srv/test-set"}
    assert job_environment({**NEEDED, **SECRET, **meant}) == {**NEEDED, **meant}


def test_a_job_has_one_thread_for_numbers_as_our_processes_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_SECRET", "abc")
    assert environment()["CLOUD_SECRET"] == "abc"
    assert "CLOUD_SECRET" not in job_environment()
    assert job_environment()["OMP_NUM_THREADS"] == environment()["OMP_NUM_THREADS"]
