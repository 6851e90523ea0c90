"""A version of an app whose results are all broken: what the job, and a person, see of it.

Gateway, dispatcher and job are the real ones, in one process; devices come over real HTTP.
"""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from tests.end_to_end.site import JOB_ID, TICK_S, Site, site
from turnout.cli.showing import described
from turnout.client.view import JobState, JobView
from turnout.device.http import HttpClient, HttpLimits
from turnout.wire.edge_replies import HttpReply
from turnout.wire.edge_requests import HttpRequest

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PLACES = 40
RESULTS = 200
JOB_TOML = f"""
name = "w"
[training]
workflow = "buffered"
buffer_goal = 10
concurrency = {PLACES}
[selection]
kind = "checkin"
thinning_window_s = 0.0
[pacing]
check_ins_per_s = 10000.0
wait_min_s = 0.01
[stop]
versions = 100
"""
MODEL_PY = """
import numpy as np
def initial_model():
    return {"weights": np.zeros(2, np.float32), "bias": np.zeros(1, np.float32)}
"""
BROKEN = {"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"weights": [1.0], "bias": [0.0]}}}}
GOOD = {"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"weights": [1.0, 1.0], "bias": [0.0]}}}}
WHY = 'tensor "weights" is not nested lists of shape [2]: at depth 1, lists of length 2 are expected'
TIMEOUT_S = 60.0


class Devices:
    """Devices of one app that ask and report in JSON."""

    def __init__(self, http: HttpClient, info: str) -> None:
        self._http = http
        self._info = info

    async def post(self, target: str, body: object, device_id: str) -> tuple[int, dict[str, object]]:
        headers = (
            ("Content-Type", "application/json"),
            ("X-Flare-Device-ID", device_id),
            ("X-Flare-Device-Info", self._info),
        )
        reply = await self._http.request(HttpRequest("POST", target, headers, msgspec.json.encode(body)))
        assert isinstance(reply, HttpReply)
        return reply.status, msgspec.json.decode(reply.body)

    async def train(self, device_id: str, result: object) -> tuple[int, dict[str, object]]:
        """Wait for a task, and report this."""
        while True:
            _, task = await self.post(f"/task?job_id={JOB_ID}", {}, device_id)
            if task["status"] == "OK":
                break
            await asyncio.sleep(TICK_S)
        target = f"/result?job_id={JOB_ID}&task_id={task['task_id']}&task_name=train"
        return await self.post(target, result, device_id)


async def test_a_broken_version_holds_no_places_and_the_job_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "job.toml").write_text(JOB_TOML)
    (folder / "model.py").write_text(MODEL_PY)
    async with site(folder) as running, asyncio.timeout(TIMEOUT_S):
        http = HttpClient(running.url, HttpLimits(connections_max=8))
        broken = Devices(http, "platform=linux&app_version=1.5.0-beta")
        phones = Devices(http, "platform=android&app_version=2.0")
        answers = await asyncio.gather(*(broken.train(f"p{number}", BROKEN) for number in range(RESULTS)))
        assert {(status, str(said["message"])) for status, said in answers} == {(400, WHY)}
        status, said = await phones.train("phone", BROKEN)
        assert (status, said["status"], said["counted"]) == (200, "OK", False)
        await told_of(running, RESULTS + 1)
        assert running.job.shell.status().training == 0
        good = await asyncio.gather(*(broken.train(f"good{number}", GOOD) for number in range(10)))
        assert all(said["counted"] for _, said in good)
        await http.close()
        shown = described(JobView(JOB_ID, "w", JobState.RUNNING, time.time(), status=running.job.shell.status()))
    text = "\n".join(shown)
    assert f"linux 1.5.0-beta: {RESULTS} refused: shape {RESULTS}; the newest: {WHY}" in text
    assert f"android 2.0: 1 refused: shape 1; the newest: {WHY}" in text
    assert f'the last 10 results of platform "linux", app "1.5.0-beta", were refused; the newest: {WHY}' in text


async def told_of(running: Site, refused: int) -> None:
    """Until the job knows of so many."""
    while True:
        if running.job.shell.status().refused.get("shape") == refused:
            return
        await asyncio.sleep(TICK_S)
