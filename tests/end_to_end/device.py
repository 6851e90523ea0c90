"""A device that speaks the plain protocol with nothing but the standard library, and learns [1, 1, ...]."""

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SIZE = 4

JOB_TOML = """
name = "tiny"
[training]
workflow = "buffered"
concurrency = 4
buffer_goal = 2
staleness = {{ discount = "constant" }}
[pacing]
wait_min_s = 0.01
wait_max_s = 0.05
[stop]
versions = {versions}
"""

MODEL_PY = f"""
import numpy as np
def initial_model():
    return {{"w": np.zeros({SIZE}, np.float32)}}
"""


def job_folder(path: Path, versions: int) -> Path:
    """A job whose model is a few zeros and whose version closes at two results."""
    path.mkdir()
    (path / "job.toml").write_text(JOB_TOML.format(versions=versions))
    (path / "model.py").write_text(MODEL_PY)
    return path


class Device:
    """One device; every method is one request."""

    def __init__(self, url: str, device_id: str) -> None:
        self._address = urlsplit(url).netloc
        self._id = device_id

    def job(self) -> dict[str, Any]:
        return self._ask("/job", {"job_name": "tiny", "capabilities": {"methods": ["numpy"]}})

    def task(self, job_id: str) -> dict[str, Any]:
        return self._ask("/task", {"job_id": job_id})

    def result(self, job_id: str, task_id: str) -> dict[str, Any]:
        update = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1.0] * SIZE}, "count": 1}, "meta": {}}
        return self.report(job_id, task_id, update)

    def report(self, job_id: str, task_id: str, update: dict[str, Any]) -> dict[str, Any]:
        body = {"job_id": job_id, "task_id": task_id, "task_name": "train", "status": "OK", "result": update}
        return self._ask("/result", body)

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer; nothing at all is RETRY, as a device would take it."""
        connection = http.client.HTTPConnection(self._address, timeout=10)
        headers = {"Content-Type": "application/json", "X-Flare-Device-ID": self._id}
        device = {"device_info": {"device_id": self._id}, "user_info": {}}
        try:
            connection.request("POST", path, json.dumps({**device, **body}), headers)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return {"status": "RETRY"}
        finally:
            connection.close()
        return answer
