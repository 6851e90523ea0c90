"""FLARE's Python client (FegApi, as its device simulator uses it): one device, its requests in one row.

Every request opens a connection of its own and has no time limit. Nulls go out as the text ``None``. A reply other
than 200 is an error whose body must still be JSON; what a reply holds beyond the known fields is kept.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.contract.flare.players.line import Answer, Headers, Line

Reply = dict[str, Any]
Sleep = Callable[[float], Awaitable[None]]
AGAIN_S = 1.0  #: Between two asks for a job; it reads no retry_wait.
NEXT_S = 0.5  #: Between two cycles.
JOB_TIMEOUT_S = 60.0


class ApiError(Exception):
    """A reply other than 200; ``details`` is its body as JSON."""

    def __init__(self, code: int, details: Any) -> None:
        super().__init__(f"API Call failed with status code {code}")
        self.details = details


@dataclass(slots=True)
class PythonDevice:
    """``train`` makes a result of ``task_data``; what it raises is reported as an error."""

    line: Line
    job_name: str
    train: Callable[[Reply], Reply]
    sleep: Sleep
    device_id: str = "simulated-1"
    cookie: Reply | None = None
    slept_s: float = 0.0
    trained: list[str] = field(default_factory=list)
    results: list[Reply] = field(default_factory=list)

    async def run(self) -> str:
        """One job to its end; says what ended it."""
        job = await self.find_job()
        if isinstance(job, str):
            return job
        while True:
            task = await self.ask_task(job["job_id"])
            match task["status"]:
                case "OK":
                    self.cookie = task["cookie"]
                    await self.do(task)
                case "RETRY":
                    pass
                case "NO_JOB":
                    return "the job is gone"
                case "DONE":
                    return "idle"
                case other:
                    return f"stopped by {other}"
            await self._wait(NEXT_S)

    async def find_job(self) -> Reply | str:
        """A job, or what ended the search for one."""
        while True:
            body = {"job_name": self.job_name, "capabilities": {"methods": ["edge"]}}
            job = await self.ask("job", {}, body)
            if job["status"] == "OK":
                return job
            if job["status"] not in ("RETRY", "NO_JOB"):
                return f"stopped by {job['status']}"
            if self.slept_s > JOB_TIMEOUT_S:
                return "no job"
            await self._wait(AGAIN_S)

    async def ask_task(self, job_id: str) -> Reply:
        return await self.ask("task", {"job_id": job_id}, {"cookie": self.cookie} if self.cookie else {})

    async def do(self, task: Reply) -> None:
        """Train, and report."""
        try:
            result, status = self.train(task["task_data"]), "OK"
        except ValueError:
            result, status = {}, "ERROR"
        self.trained.append(task["task_id"])
        body = {"status": status, "task_name": task["task_name"], "result": result}
        if self.cookie:
            body["cookie"] = self.cookie
        target = {"job_id": task["job_id"], "task_id": task["task_id"]}
        self.results.append(await self.ask("result", target, body))

    async def _wait(self, seconds: float) -> None:
        self.slept_s += seconds
        await self.sleep(seconds)

    async def ask(self, path: str, query: Mapping[str, str], body: Reply) -> Reply:
        """A request; one that fails in any way is as RETRY."""
        try:
            return await self.post(path, query, body)
        except (ApiError, ValueError, TypeError):
            return {"status": "RETRY"}

    async def post(self, path: str, query: Mapping[str, str], body: Any) -> Reply:
        """Raises ApiError for a reply other than 200, TypeError for one without a status."""
        target = f"/{path}?{urlencode(query)}" if query else f"/{path}"
        sent = json.dumps(body, allow_nan=False).encode()
        answer = await self.line.post(target, self._headers(sent), sent)
        self.line.hang_up()
        return _reply(answer)

    @property
    def about(self) -> Reply:
        about = {"app_name": "flare_mobile", "app_version": "1.0", "platform": None, "platform_version": None}
        return {"device_id": self.device_id, **about}

    @property
    def user(self) -> Reply:
        nothing = {"access_token": None, "auth_token": None, "auth_session": None}
        return {"user_id": "demo_id", "user_name": "demo_user", **nothing}

    def _headers(self, body: bytes) -> Headers:
        about = self.about
        del about["device_id"]
        return [
            ("Host", self.line.host),
            ("User-Agent", "python-requests/2.32.3"),
            ("Accept-Encoding", "gzip, deflate"),
            ("Accept", "*/*"),
            ("Connection", "keep-alive"),
            ("Content-Type", "application/json"),
            ("X-Flare-Device-ID", self.device_id),
            ("X-Flare-Device-Info", urlencode(about)),
            ("X-Flare-User-Info", urlencode(self.user)),
            ("Content-Length", str(len(body))),
        ]


def _reply(answer: Answer) -> Reply:
    found = json.loads(answer.body)
    if answer.status != 200:
        raise ApiError(answer.status, found)
    return response(**found)


def response(status: str, **fields: Any) -> Reply:
    """Its response classes: only the status is required, and any other field is kept."""
    return {"status": status, **fields}
