"""FLARE's iOS SDK: URLSession, JSONDecoder, and a runner that forgets its cookie on every reply without one.

Info goes out as ``k=v`` in job requests and as JSON in the others. ``task_data.data`` must be text, and ``meta`` be
there. ``retry_wait`` is slept in seconds. A result cannot be sent without a cookie, and its answer is read whatever its
HTTP status is.

Its executor hands the epochs on as ``num_epochs``, and its trainer reads ``total_epochs``: it trains none, whatever it
is told, and reports zeros. An app may have an SDK in which that is ``mended``.
"""

import json
import math
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from tests.contract.flare.players.line import Answer, Headers, Line

Sleep = Callable[[float], Awaitable[None]]
DEFAULT_WAIT_S = 5
#: What URLQueryItem leaves as it is beside letters and digits.
QUERY_SAFE = "-._~!$'()*+,/:;?@"
HAS_JOB = ("OK", "RUNNING", "SUBMITTED", "APPROVED", "DISPATCHED")
BUILT_IN = ("ETTrainer", "Trainer.DLTrainer")
#: What it makes of a trainer's arguments, from a server's words; other keys stay as they are.
OWN_WORDS = {"epoch": "num_epochs", "batch_size": "batch_size", "shuffle": "dataset_shuffle"}
TURNS_MAX = 20  #: A task that finds no executor is asked for without a pause: a test must end.


class SdkError(Exception):
    """What the SDK throws and its runner catches."""


class Float(float):
    """A number of 32 bits, as its executor wants the learning rate; JSON has Doubles."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What the executor hands on, and how many epochs the trainer makes of it."""

    epochs: int
    batch_size: int
    learning_rate: float
    trained_epochs: int


@dataclass(slots=True)
class Ios:
    """``train`` makes ``{name: {"data", "sizes", "strides"}}`` of the model's bytes and the task's meta."""

    line: Line
    job_name: str
    train: Callable[[bytes, Mapping[str, Any]], dict[str, Any]]
    sleep_s: Sleep
    device_id: str = "3F2504E0-4F89-11D3-9A0C-0305E82C3301"
    info: Mapping[str, str] | None = None  #: What an app may give; its own is made of the device's id.
    job_timeout_s: float = 60.0
    mended: bool = False
    cookie: Any = None
    slept_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    turns: int = 0
    trained_with: list[TrainingConfig] = field(default_factory=list)

    async def run(self) -> str:
        """A whole session; says what ended it."""
        try:
            while not (ended := await self._one_job()):
                pass
        finally:
            self.line.hang_up()
        return ended

    async def _one_job(self) -> str:
        job = await self._get_job()
        if isinstance(job, str):
            return job
        try:
            executor_of = _executors(job["config"])
        except SdkError as error:
            return f"job: {error}"
        while self.turns < TURNS_MAX:
            self.turns += 1
            task = await self._get_task(job["job_id"])
            if not isinstance(task, dict):
                return task or ""
            executor = executor_of(task["task_name"])
            if executor is None:
                continue
            result = self._execute(task, executor)
            self.trained.append(task["task_id"])
            ended = await self._report(job["job_id"], task, result)
            if ended is not None:
                return ended
        return "asks without a pause"

    async def _get_job(self) -> dict[str, Any] | str:
        began = self.slept_s
        while self.slept_s - began < self.job_timeout_s:
            try:
                job = await self.fetch_job()
            except SdkError:
                await self._sleep(DEFAULT_WAIT_S)
                continue
            if job["status"] in ("stopped", "DONE"):
                return f"job: {job['status']}"
            if job["status"] in HAS_JOB:
                return job if job["job_id"] and job["job_name"] else "job: no id"
            await self._sleep(DEFAULT_WAIT_S if job["retry_wait"] is None else job["retry_wait"])
        return "no job in time"

    async def _get_task(self, job_id: str) -> dict[str, Any] | str | None:
        """A task; what ended the session; None to look for a job again."""
        while True:
            try:
                task = await self.fetch_task(job_id)
            except SdkError:
                await self._sleep(DEFAULT_WAIT_S)
                continue
            match task["status"]:
                case "DONE" | "INVALID" | "ERROR":
                    return f"task: {task['status']}"
                case "NO_JOB":
                    return None
                case "OK" if task["task_id"] and task["task_name"] and task["task_data"]:
                    return task
            await self._sleep(DEFAULT_WAIT_S if task["retry_wait"] is None else task["retry_wait"])

    def _execute(self, task: dict[str, Any], executor: dict[str, Any]) -> dict[str, Any]:
        data = task["task_data"]
        config = self._training_config({**_settings(executor), **data["meta"]})
        try:
            learned = self.train(b64decode(data["data"], validate=True), data["meta"])
        except ValueError as error:
            return {"kind": "error", "data": {"error": str(error)}, "meta": {}}
        self.trained_with.append(config)
        if not config.trained_epochs:
            for tensor in learned.values():
                tensor["data"] = [0.0] * len(tensor["data"])
        meta = {
            "training_completed": True,
            "timestamp": 1767225600.25,
            "epochs": config.epochs,
            "learning_rate": config.learning_rate,
            "batch_size": config.batch_size,
            "dataset": "app_cpp_dataset",
            "architecture": "executorch_native",
            "config_args": "none",
        }
        return {"kind": "et_tensor_diff", "data": learned, "meta": meta}

    def _training_config(self, told: Mapping[str, Any]) -> TrainingConfig:
        epochs, batch_size, rate = told.get("num_epochs"), told.get("batch_size"), told.get("learning_rate")
        handed_on = epochs if _is_int(epochs) else 1
        return TrainingConfig(
            epochs=handed_on,
            batch_size=batch_size if _is_int(batch_size) else 32,
            learning_rate=rate if isinstance(rate, Float) else 0.01,
            trained_epochs=handed_on if self.mended else 0,
        )

    async def _report(self, job_id: str, task: dict[str, Any], result: dict[str, Any]) -> str | None:
        """None to go on with the next task, "" to look for a job, else what ended the session."""
        try:
            status = await self.send_result(job_id, task["task_id"], task["task_name"], result)
        except SdkError as error:
            return f"result: {error}"
        if status == "NO_JOB":
            return ""
        return f"result: {status}" if status in ("DONE", "ERROR", "INVALID_REQUEST") else None

    # --- the connection ---

    async def fetch_job(self) -> dict[str, Any]:
        """Raises SdkError for another HTTP status than 200, or a body that does not decode."""
        body = {"capabilities": {"methods": [self.job_name]}, "job_name": self.job_name}
        path = urlsplit(self.line.url).path
        about = "&".join(f"{key}={value}" for key, value in self._info().items())
        found = _decoded(_only_200(await self._post(f"{path}/job", about, "", body)))
        job: dict[str, Any] = {"status": _text(found, "status", required=True)}
        job |= {name: _text(found, name) for name in ("job_id", "job_name", "method", "message")}
        job["retry_wait"] = _integer(found, "retry_wait")
        for text in (_object(found, "details") or {}).values():
            _text({"details": text}, "details", required=True)
        job["config"] = _config(_object(found, "job_data"))
        return job

    async def fetch_task(self, job_id: str) -> dict[str, Any]:
        """Raises SdkError as ``fetch_job`` does. Whatever cookie comes, or none, is the cookie."""
        body = {} if self.cookie is None else {"cookie": self.cookie}
        found = _decoded(_only_200(await self._post_json(f"/task?{query(job_id=job_id)}", body)))
        task: dict[str, Any] = {"status": _text(found, "status", required=True)}
        task |= {name: _text(found, name) for name in ("message", "job_id", "task_id", "task_name")}
        task["retry_wait"] = _integer(found, "retry_wait")
        data = _object(found, "task_data")
        if data is not None:
            if "meta" not in data:
                raise SdkError("decode error: keyNotFound meta")
            data = {
                "data": _text(data, "data", required=True),
                "kind": _text(data, "kind", required=True),
                "meta": data["meta"],
            }
        task["task_data"] = data
        self.cookie = found.get("cookie")
        return task

    async def send_result(self, job_id: str, task_id: str, task_name: str, result: dict[str, Any]) -> str:
        """The status it is answered with, whatever the HTTP status. Raises SdkError without a cookie."""
        if self.cookie is None:
            raise SdkError("No cookie found")
        target = f"/result?{query(job_id=job_id, task_id=task_id, task_name=task_name)}"
        found = _decoded(await self._post_json(target, {"result": result, "cookie": self.cookie}))
        self.results.append(found)
        for name in ("message", "task_id", "task_name"):
            _text(found, name)
        _integer(found, "retry_wait")
        return _text(found, "status", required=True) or ""

    async def _sleep(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.slept_s += seconds
        await self.sleep_s(seconds)

    def _info(self) -> Mapping[str, str]:
        return self.info or {"device_id": self.device_id, "platform": "ios", "app_version": "1.0"}

    async def _post_json(self, target: str, body: Any) -> Answer:
        return await self._post(target, foundation_json(self._info()), "{}", body)

    async def _post(self, target: str, about: str, user: str, body: Any) -> Answer:
        sent = foundation_json(body).encode()
        headers: Headers = [
            ("Host", self.line.host),
            ("Content-Type", "application/json"),
            ("X-Flare-Device-Info", about),
            ("X-Flare-User-Info", user),
            ("Connection", "keep-alive"),
            ("Accept", "*/*"),
            ("User-Agent", "ExampleApp/1 CFNetwork/1494.0.7 Darwin/23.4.0"),
            ("X-Flare-Device-ID", self.device_id),
            ("Accept-Language", "en-GB,en;q=0.9"),
            ("Accept-Encoding", "gzip, deflate"),
            ("Content-Length", str(len(sent))),
        ]
        return await self.line.post(target, headers, sent)


def query(**fields: str) -> str:
    """As URLComponents writes it: a + stays a +."""
    return "&".join(f"{name}={quote(value, safe=QUERY_SAFE)}" for name, value in fields.items())


def foundation_json(value: Any) -> str:
    """As JSONSerialization writes it: slashes are escaped, floats have 17 digits."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{foundation_json(key)}:{foundation_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(foundation_json, value)) + "]"
    if isinstance(value, float):
        assert math.isfinite(value), "JSONSerialization refuses it"
        return f"{value:.17g}"
    return json.dumps(value, ensure_ascii=False).replace("/", "\\/")


# --- job data -----------------------------------------------------------------------------------------------------


def _config(job_data: dict[str, Any] | None) -> dict[str, Any]:
    if job_data is None:
        return {"components": [{"type": "Trainer.DLTrainer", "name": "trainer", "args": {}}]}
    config = job_data.get("config")
    return config if isinstance(config, dict) else {}


def _executors(config: dict[str, Any]) -> Callable[[str], Any]:
    components = _objects(config.get("components"))
    if components is None:
        raise SdkError("missing components")
    objects = {component["name"]: component for component in components}
    executors = {item.get("task_name", "*"): item for item in _objects(config.get("executors")) or []}
    for made in (*components, *executors.values()):
        if made["type"] not in BUILT_IN:
            raise SdkError(f"no resolver for {made['type']}")
    if not executors:
        return lambda task: objects.get("trainer")
    return lambda task: executors.get(task) or executors.get("*")


def _settings(executor: dict[str, Any]) -> dict[str, Any]:
    """A component's arguments in the SDK's own words."""
    args = executor.get("args")
    if not isinstance(args, dict):
        return {}
    told = {OWN_WORDS.get(key, key): value for key, value in args.items() if key != "lr"}
    if isinstance(args.get("lr"), float):
        told["learning_rate"] = Float(args["lr"])
    return told


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _objects(value: Any) -> list[dict[str, Any]] | None:
    is_list = isinstance(value, list) and all(isinstance(item, dict) for item in value)
    return value if is_list else None


# --- JSONDecoder --------------------------------------------------------------------------------------------------


def _only_200(answer: Answer) -> Answer:
    if answer.status != 200:
        raise SdkError(f"HTTP {answer.status}")
    return answer


def _decoded(answer: Answer) -> dict[str, Any]:
    try:
        found = _whole(json.loads(answer.body))
    except ValueError as error:
        raise SdkError(f"decode error: {error}") from error
    if not isinstance(found, dict):
        raise SdkError("decode error: no object")
    return found


def _whole(value: Any) -> Any:
    """Floats without a fraction are integers to it."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(found: Mapping[str, Any], name: str, *, required: bool = False) -> str | None:
    value = found.get(name)
    if not isinstance(value, str) and (required or value is not None):
        raise SdkError(f"decode error: {name} is no String")
    return value


def _integer(found: Mapping[str, Any], name: str) -> int | None:
    value = found.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise SdkError(f"decode error: {name} is no Int")
    return value


def _object(found: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = found.get(name)
    if value is not None and not isinstance(value, dict):
        raise SdkError(f"decode error: {name} is no Dictionary")
    return value
