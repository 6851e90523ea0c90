"""The API, without a network: jobs from their submission to their end."""

import asyncio
import io
import os
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.unit.control.world import JOB_TOML, MODEL, SCHEMA, World, submitted, zipped
from turnout.job.folder.carried import keep_carried
from turnout.messages import FailingEvaluation, JobStatus, KeptModel, Topic
from turnout.transport.orders import JobReport, StartJob, StopJob
from turnout.wire.model_files import read_arrays
from turnout.wire.tensors import to_safetensors

pytestmark = pytest.mark.anyio


async def test_a_submitted_job_is_started_and_listed(world: World, tmp_path: Path) -> None:
    job_id = await submitted(world)
    assert [order.job.job_id for order in world.orders if isinstance(order, StartJob)] == [job_id]
    assert (tmp_path / "jobs" / job_id / "folder" / "job.toml").read_bytes() == JOB_TOML
    assert list((tmp_path / "incoming").iterdir()) == []
    listed = (await world.call("GET", "/api/jobs")).json
    assert [(job["job_id"], job["name"], job["state"]) for job in listed] == [(job_id, "digits", "running")]
    assert world.jobs.running[job_id].meta == {"edge_method": "numpy"}


async def test_a_submitted_folder_is_on_the_disk_before_the_job_is_stored_and_started(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def fsync(fd: int) -> None:
        assert not world.orders
        assert not world.jobs.running
        assert threading.current_thread() is not threading.main_thread(), "the loop does not wait for the disk"
        synced.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    job_id = await submitted(world)
    directory = tmp_path / "jobs" / job_id
    folder = directory / "folder"
    chain = (folder / "job.toml", folder, directory, tmp_path / "jobs", tmp_path)
    places = [synced.index(path.stat().st_ino) for path in chain]
    assert places == sorted(places), "what is in a folder before its name"
    assert (folder / "model.safetensors").stat().st_ino in synced
    assert (directory / "blobs").stat().st_ino in synced


async def test_a_wrong_job_folder_is_refused_in_the_words_of_its_error(world: World) -> None:
    answer = await world.submit(job__toml=b'name = "digits"\n[stop]\nversions = -1\n', model__safetensors=MODEL)
    assert answer.status == 422
    assert "versions" in answer.detail
    assert world.orders == []


async def test_a_device_config_as_deep_as_json_can_be_read_is_refused_in_words(world: World) -> None:
    """Deep enough that it cannot be written again inside other JSON, though it can be read."""
    config = b'{"a":' * 985 + b"1" + b"}" * 985
    answer = await world.submit(job__toml=JOB_TOML, model__safetensors=MODEL, device_config__json=config)
    assert answer.status == 422
    assert answer.detail.startswith("device_config.json: objects and lists are nested more than 64 deep")


async def test_a_server_py_that_cannot_be_imported_is_refused_with_its_line(world: World) -> None:
    answer = await world.submit(job__toml=JOB_TOML, model__safetensors=MODEL, server__py=b"import os\n1 / 0\n")
    assert answer.status == 422
    assert answer.detail.startswith("server.py: ")
    assert "line 2" in answer.detail
    assert (await world.call("GET", "/api/jobs")).json == []


async def test_code_that_crashes_the_reader_is_reported_not_suffered(world: World) -> None:
    answer = await world.submit(job__toml=JOB_TOML, model__py=b"import os\nos._exit(9)\n")
    assert answer.status == 422
    assert answer.detail == "reading the job folder ended with exit code 9"


async def test_an_upload_that_is_no_zip_is_refused(world: World) -> None:
    answer = await world.call("POST", "/api/jobs", b"hello", content_type="application/zip")
    assert answer.status == 422
    assert "not a zip file" in answer.detail
    assert (await world.call("POST", "/api/jobs", b"{}")).status == 415


async def test_a_running_job_tells_its_own_status(world: World) -> None:
    job_id = await submitted(world)
    world.start(job_id, JobStatus(job_id, "digits", "open", "buffered", version=2))
    shown = await world.call("GET", f"/api/jobs/{job_id}")
    assert shown.json["fresh"]
    assert shown.json["status"]["version"] == 2
    world.processes.stop(world.jobs.running[job_id].address)
    stale = await world.call("GET", f"/api/jobs/{job_id}")
    assert "fresh" not in stale.json
    assert stale.json["status"]["version"] == 2


async def test_the_model_of_a_finished_job_can_be_downloaded(world: World) -> None:
    job_id = await submitted(world)
    assert (await world.call("GET", f"/api/jobs/{job_id}/model")).status == 404
    folder = world.jobs.folder(job_id)
    sha256 = "ab" * 32
    (folder / "blobs" / f"{sha256}.safetensors").write_bytes(MODEL)
    world.end(job_id, version=3, model_sha256=sha256, finished="version 3")
    answer = await world.call("GET", f"/api/jobs/{job_id}/model")
    assert (answer.status, answer.body) == (200, MODEL)
    assert answer.headers["content-length"] == str(len(MODEL))
    shown = (await world.call("GET", f"/api/jobs/{job_id}")).json
    assert (shown["state"], shown["reason"]) == ("completed", "version 3")


async def test_a_job_is_told_when_a_person_cancels_it(world: World) -> None:
    job_id = await submitted(world)
    job = world.start(job_id, JobStatus(job_id, "digits", "open", "buffered"))
    await world.call("GET", f"/api/jobs/{job_id}")
    answer = await world.call("POST", f"/api/jobs/{job_id}/cancel")
    assert (answer.status, answer.json["state"]) == (202, "cancelling")
    async with asyncio.timeout(5):
        while Topic.CANCEL not in job.asked:
            await world.call("GET", "/healthz")
    assert (await world.call("POST", f"/api/jobs/{job_id}/cancel")).status == 409


async def test_the_former_path_of_cancel_answers_and_is_described_as_deprecated(world: World) -> None:
    job_id = await submitted(world)
    answer = await world.call("POST", f"/api/jobs/{job_id}/abort")
    assert (answer.status, answer.json["state"]) == (202, "cancelling")
    paths = (await world.call("GET", "/api/openapi.json")).json["paths"]
    assert [path for path, found in paths.items() if found.get("post", {}).get("deprecated")] == [
        "/api/jobs/{job_id}/abort"
    ]


async def test_the_process_of_a_cancelled_job_that_does_not_answer_is_kept(world: World) -> None:
    job_id = await submitted(world)
    await world.call("POST", f"/api/jobs/{job_id}/cancel")
    await world.call("GET", f"/api/jobs/{job_id}")
    assert StopJob(job_id) not in world.orders
    job = world.start(job_id, JobStatus(job_id, "digits", "open", "buffered"))
    async with asyncio.timeout(5):
        while Topic.CANCEL not in job.asked:
            await world.call("GET", "/healthz")


async def test_a_paused_job_is_resumed_when_a_person_says_so(world: World) -> None:
    job_id = await submitted(world)
    assert (await world.call("POST", f"/api/jobs/{job_id}/resume")).status == 503
    job = world.start(job_id, JobStatus(job_id, "digits", "open", "rounds"))
    assert (await world.call("POST", f"/api/jobs/{job_id}/resume")).status == 202
    assert job.asked == [Topic.RESUME]


async def test_an_unknown_job_is_404_everywhere(world: World) -> None:
    for method, path in (("GET", ""), ("GET", "/model"), ("POST", "/cancel")):
        answer = await world.call(method, f"/api/jobs/nothing{path}")
        assert (answer.status, answer.detail) == (404, "no job 'nothing'; GET /api/jobs lists them")


async def test_a_route_or_method_that_does_not_exist_is_a_problem_too(world: World) -> None:
    assert (await world.call("GET", "/api/nothing")).detail.startswith("no such route")
    assert (await world.call("DELETE", "/api/jobs")).json["status"] == 405


async def test_gateways_are_listed_with_their_counters(world: World) -> None:
    assert (await world.call("GET", "/api/gateways")).json == [{"type": "GatewayCounters", "requests": {"task": 7}}]
    assert (await world.call("GET", "/healthz", authorization="")).json == {"status": "ok"}


async def test_a_request_from_a_web_page_is_refused_before_anything_is_done(world: World) -> None:
    answer = await world.call("POST", "/api/jobs", zipped(job__toml=JOB_TOML), content_type="text/plain")
    assert answer.status == 415
    assert (await world.call("GET", "/api/jobs", origin="http://evil.example")).status == 403


async def test_a_paused_job_is_told_so_and_only_a_running_job_is(world: World) -> None:
    job_id = await submitted(world)
    job = world.start(job_id, JobStatus(job_id, "digits", "open", "buffered"))
    await world.call("GET", f"/api/jobs/{job_id}")
    assert (await world.call("POST", f"/api/jobs/{job_id}/pause")).status == 202
    assert Topic.PAUSE in job.asked
    world.end(job_id)
    refused = await world.call("POST", f"/api/jobs/{job_id}/pause")
    assert (refused.status, refused.detail) == (409, f"job {job_id} is completed; only a running job can pause")


async def test_a_job_that_cannot_run_for_now_is_shown_and_listed_with_the_reason(world: World) -> None:
    job_id = await submitted(world)
    world.jobs.heard(JobReport(job_id, reason="the disk is full"))
    assert (await world.call("GET", f"/api/jobs/{job_id}")).json["reason"] == "the disk is full"
    assert [job["reason"] for job in (await world.call("GET", "/api/jobs")).json] == ["the disk is full"]


async def test_a_failed_job_can_be_started_again_and_a_completed_one_cannot(world: World) -> None:
    job_id = await submitted(world)
    running = await world.call("POST", f"/api/jobs/{job_id}/start")
    assert (running.status, running.detail) == (
        409,
        f"job {job_id} is running; only a cancelled or failed job can be started",
    )
    world.jobs.heard(JobReport(job_id, code=4, reason="update turnout"))
    started = await world.call("POST", f"/api/jobs/{job_id}/start")
    assert (started.status, started.json["state"]) == (202, "running")
    assert "reason" not in started.json
    assert job_id in world.jobs.running
    world.end(job_id)
    assert (await world.call("POST", f"/api/jobs/{job_id}/start")).status == 409


async def test_a_job_that_a_person_ended_can_be_started_again(world: World) -> None:
    job_id = await submitted(world)
    await world.call("POST", f"/api/jobs/{job_id}/cancel")
    assert (await world.call("POST", f"/api/jobs/{job_id}/start")).status == 409  # its last version is being closed
    world.jobs.heard(JobReport(job_id, code=3, reason="cancelled by a person"))
    assert (await world.call("GET", f"/api/jobs/{job_id}")).json["state"] == "cancelled"
    started = await world.call("POST", f"/api/jobs/{job_id}/start")
    assert (started.status, started.json["state"]) == (202, "running")
    assert job_id in world.jobs.running


async def test_a_deleted_job_is_gone_with_all_its_files(world: World) -> None:
    job_id = await submitted(world)
    assert (await world.call("DELETE", f"/api/jobs/{job_id}")).status == 409
    world.end(job_id)
    assert (await world.call("DELETE", f"/api/jobs/{job_id}")).status == 204
    assert not world.jobs.folder(job_id).exists()
    assert list((world.data / "incoming").iterdir()) == []
    assert (await world.call("GET", "/api/jobs")).json == []
    assert (await world.call("DELETE", f"/api/jobs/{job_id}")).status == 404


async def with_models(world: World) -> str:
    """An ended job with versions 2, its best, and 3, its newest."""
    job_id = await submitted(world)
    blobs = world.jobs.folder(job_id) / "blobs"
    (blobs / f"{'a' * 64}.safetensors").write_bytes(MODEL)
    other = to_safetensors(np.array([5, 6], np.float32), SCHEMA)
    (blobs / f"{'b' * 64}.safetensors").write_bytes(other)
    kept = (KeptModel(2, "a" * 64, len(MODEL), {"accuracy": 0.9}),)
    best = {"best_version": 2, "best_metric": 0.9, "kept": kept}
    world.end(job_id, version=3, model_sha256="b" * 64, **best)
    return job_id


async def test_any_kept_version_of_a_model_can_be_had_and_the_best_by_name(world: World) -> None:
    job_id = await with_models(world)
    for asked, version in (("newest", "3"), ("3", "3"), ("best", "2"), ("2", "2")):
        answer = await world.call("GET", f"/api/jobs/{job_id}/model?version={asked}")
        assert (answer.status, answer.headers["x-model-version"]) == (200, version), asked
    answer = await world.call("GET", f"/api/jobs/{job_id}/model")
    assert answer.headers["x-model-version"] == "2", "the best, unless another is asked for"
    gone = await world.call("GET", f"/api/jobs/{job_id}/model?version=1")
    assert (gone.status, gone.detail) == (404, "version 1 is not kept; give one of 2, 3, or newest or best")


@pytest.mark.parametrize("asked", ["", "-1", "+1", "1.0", "latest", "%D9%A3", "1" * 16])
async def test_a_version_that_names_nothing_is_refused_whether_or_not_there_is_a_model(
    world: World, asked: str
) -> None:
    words = "is none of newest, best or a number; leave it out for the best or else the newest"
    for job_id in (await with_models(world), await submitted(world)):
        refused = await world.call("GET", f"/api/jobs/{job_id}/model?version={asked}")
        assert refused.status == 400
        assert words in refused.detail


async def test_a_model_can_be_had_for_numpy(world: World) -> None:
    job_id = await with_models(world)
    answer = await world.call("GET", f"/api/jobs/{job_id}/model?format=npz&version=best")
    assert answer.headers["content-disposition"].endswith(f'{job_id}-v2.npz"')
    assert int(answer.headers["content-length"]) == len(answer.body)
    with np.load(io.BytesIO(answer.body)) as arrays:
        assert {name: arrays[name].tolist() for name in arrays} == {"w": [1.0, 2.0]}
    assert list((world.data / "incoming").iterdir()) == []
    assert (await world.call("GET", f"/api/jobs/{job_id}/model?format=pickle")).status == 400


async def test_every_model_file_has_what_the_job_carries_beside_what_it_trains(world: World) -> None:
    job_id = await with_models(world)
    keep_carried(world.jobs.folder(job_id), {"steps": np.array(7, np.int64), "mask": np.array([True, False])})
    for form in ("safetensors", "npz"):
        answer = await world.call("GET", f"/api/jobs/{job_id}/model?format={form}&version=best")
        assert (answer.status, int(answer.headers["content-length"])) == (200, len(answer.body))
        arrays = read_arrays(answer.body) if form == "safetensors" else dict(np.load(io.BytesIO(answer.body)))
        found = {name: (str(array.dtype), array.tolist()) for name, array in arrays.items()}
        assert found == {"w": ("float32", [1.0, 2.0]), "steps": ("int64", 7), "mask": ("bool", [True, False])}, form
    assert list((world.data / "incoming").iterdir()) == []


async def test_the_best_model_of_a_job_without_a_metric_is_a_clear_refusal(world: World) -> None:
    job_id = await submitted(world)
    world.end(job_id, version=1, model_sha256="a" * 64)
    answer = await world.call("GET", f"/api/jobs/{job_id}/model?version=best")
    assert answer.status == 404
    assert "version=newest" in answer.detail


async def test_a_server_is_ready_once_a_gateway_and_every_job_answer(world: World) -> None:
    assert (await world.call("GET", "/readyz", authorization="")).json == {"ready": True}
    assert (await world.call("GET", "/api/health")).json == {
        "ready": True,
        "checks": {"supervisor": True, "gateway": True, "jobs": True},
        "jobs_running": 0,
        "gateways": 1,
    }
    job_id = await submitted(world)
    await world.api.sampler.take()
    answer = await world.call("GET", "/readyz")
    assert (answer.status, answer.json) == (503, {"ready": False})
    assert not (await world.call("GET", "/api/health")).json["checks"]["jobs"]
    world.start(job_id, JobStatus(job_id, "digits", "open", "buffered"))
    await world.api.sampler.take()
    assert (await world.call("GET", "/readyz")).status == 200


async def test_the_dashboard_is_served_at_the_root(world: World) -> None:
    answer = await world.ask("GET", "/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_the_list_says_of_an_ended_job_what_its_page_says(world: World, tmp_path: Path) -> None:
    job_id = await submitted(world)
    fails = FailingEvaluation(3, 9, 7, "KeyError: 'x'")
    last = JobStatus(job_id, "digits", "completed", "buffered", version=9, evaluation_fails=fails, staleness={0: 4})
    (tmp_path / "jobs" / job_id / "final.json").write_bytes(msgspec.json.encode(last))
    world.jobs.heard(JobReport(job_id, 0, ""))
    (listed,) = (await world.call("GET", "/api/jobs")).json
    shown = (await world.call("GET", f"/api/jobs/{job_id}")).json
    assert listed["state"] == shown["state"] == "completed"
    assert (listed["status"]["version"], listed["fresh"]) == (9, True)
    assert listed["status"]["evaluation_fails"] == shown["status"]["evaluation_fails"]
    assert "staleness" not in listed["status"]  # that is for its page
