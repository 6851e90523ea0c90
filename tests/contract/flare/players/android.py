"""FLARE's Android SDK: OkHttp, Gson, and a runner that ends its session on any answer to a result but OK.

Info headers are not percent-encoded. ``retry_wait`` is slept in milliseconds, inside the request for a job or a task,
where neither the job's time-out nor the app can stop it. The last cookie is kept. All else it is told as an exception,
waits five seconds and asks again.

What it trains with comes from its job's config, and the meta of a task goes before that, key by key. But meta is read
through ``asMap()``, which Gson has itself since 2.10, and its own leaves every value a JsonPrimitive: neither number
nor text.
"""

import json
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from tests.contract.flare.players.line import Headers, Line

Sleep = Callable[[float], Awaitable[None]]
DEFAULT_WAIT_MS = 5000
INT_MAX = 2**31 - 1
ERRORS = {400: "Invalid request", 403: "Authentication error", 500: "Server error"}
EXECUTOR, TRAINER = "Executor.ETTrainerExecutor", "Trainer.DLTrainer"
BUILT_IN = (EXECUTOR, TRAINER, "Filter.NoOpFilter", "EventHandler.NoOpEventHandler")
XOR_BATCH_MAX = 4


class SdkError(Exception):
    """What the SDK throws and its runner catches."""


class Crash(Exception):
    """What the SDK throws and nobody catches."""


@dataclass(frozen=True, slots=True)
class JsonPrimitive:
    """A value as Gson keeps it, which the SDK takes for neither number nor text."""

    value: Any


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What the SDK trains with."""

    total_epochs: int
    batch_size: int
    learning_rate: float
    method: str


@dataclass(slots=True)
class Android:
    """``train`` makes ``{name: {"data", "sizes"}}`` of the model's bytes and the task's meta."""

    line: Line
    job_name: str
    train: Callable[[bytes, Mapping[str, Any]], dict[str, Any]]
    sleep_ms: Sleep
    device_id: str = "NVFlare_Android-9774d56d682e549c"
    app_name: str = "NVFlare Mobile"
    info: Mapping[str, str] | None = None  #: What an app may set instead of the SDK's own.
    methods: tuple[str, ...] = ()
    job_timeout_s: float = 60.0
    has_gson_2_10: bool = True  #: What the SDK's README asks for; an app may be built with an older one.
    cookie: Any = None
    slept_ms: float = 0.0
    waits_ms: list[float] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    trained_with: list[TrainingConfig] = field(default_factory=list)

    async def run(self) -> str:
        """A whole session; says what ended it. Raises Crash for what would end the app."""
        try:
            while not (ended := await self._one_job()):
                pass
        finally:
            self.line.hang_up()
        return ended

    async def _one_job(self) -> str:
        job = await self._get_job()
        if job is None:
            return "no job in time"
        config = _config(job["job_data"] or {})
        executor_of = _executors(self._read(config))
        while True:
            task = await self._get_task(job["job_id"] or "")
            if task is None:
                return "no task in time"
            executor = executor_of(task["task_name"])
            if executor is None:
                raise Crash(f"Cannot find executor for task {task['task_name']}")
            result = self._execute(task, executor)
            self.trained.append(task["task_id"])
            try:
                await self.send_result(job["job_id"] or "", task["task_id"], task["task_name"], result)
            except SdkError as error:
                return f"result: {error}"

    async def _get_job(self) -> dict[str, Any] | None:
        began = self.slept_ms
        while self.slept_ms - began <= self.job_timeout_s * 1000:
            try:
                return await self.fetch_job()
            except SdkError:
                await self._delay(DEFAULT_WAIT_MS)
        return None

    async def _get_task(self, job_id: str) -> dict[str, Any] | None:
        began = self.slept_ms
        while self.slept_ms - began <= self.job_timeout_s * 1000:
            try:
                return await self.fetch_task(job_id)
            except SdkError:
                await self._delay(DEFAULT_WAIT_MS)
        return None

    def _execute(self, task: dict[str, Any], executor: dict[str, Any]) -> dict[str, Any]:
        data, meta = task["task_data"]["data"], task["task_data"]["meta"]
        text = data if isinstance(data, str) else json.dumps(data)
        told = {key: JsonPrimitive(value) if self.has_gson_2_10 else _number(value) for key, value in meta.items()}
        try:
            config = training_config({**_settings(executor), **told}, self.job_name)
            learned = self.train(b64decode(text, validate=True), meta)
        except ValueError as error:
            raise Crash(f"Training failed: {error}") from error
        self.trained_with.append(config)
        about = {
            "learning_rate": config.learning_rate,
            "batch_size": config.batch_size,
            "method": config.method,
            "epochs": config.total_epochs,
        }
        return {"kind": "number", "data": learned, "meta": about}

    def _read(self, config: Any) -> Any:
        """A job's config as a plain map: in the newer Gson every number is a Double, in the older one none is."""
        if isinstance(config, dict):
            return {key: self._read(value) for key, value in config.items()}
        if isinstance(config, list):
            return [self._read(value) for value in config]
        return float(_number(config)) if self.has_gson_2_10 and _is_number(config) else _number(config)

    # --- the connection ---

    async def fetch_job(self) -> dict[str, Any]:
        """Until there is one. Raises SdkError for anything but OK and RETRY."""
        while True:
            body = {"job_name": self.job_name, "capabilities": {"methods": list(self.methods)}}
            found = await self._post("/job", {}, body)
            job = {
                "status": _text(found, "status"),
                "job_id": _text(found, "job_id"),
                "job_data": _object(found, "job_data"),
                "retry_wait": _integer(found, "retry_wait"),
            }
            _texts(found, "details")
            if job["status"] == "OK":
                return job
            if job["status"] != "RETRY":
                raise SdkError("Job fetch failed")
            await self._delay(DEFAULT_WAIT_MS if job["retry_wait"] is None else job["retry_wait"])

    async def fetch_task(self, job_id: str) -> dict[str, Any]:
        """Until there is one. Raises SdkError for anything but OK and RETRY."""
        while True:
            found = await self._post(
                "/task", {"job_id": job_id}, {} if self.cookie is None else {"cookie": self.cookie}
            )
            task = {name: _text(found, name) for name in ("status", "message", "job_id", "task_id", "task_name")}
            task["task_data"] = _task_data(_object(found, "task_data"))
            wait_ms = _integer(found, "retry_wait")
            cookie = _object(found, "cookie")
            if cookie is not None:
                self.cookie = cookie
            if task["status"] == "OK":
                return task
            if task["status"] != "RETRY":
                raise SdkError("Task fetch failed")
            await self._delay(DEFAULT_WAIT_MS if wait_ms is None else wait_ms)

    async def send_result(self, job_id: str, task_id: str, task_name: str, result: dict[str, Any]) -> None:
        """Raises SdkError for anything but OK."""
        body = {"result": result}
        if self.cookie is not None:
            body["cookie"] = self.cookie
        query = {"job_id": job_id, "task_id": task_id, "task_name": task_name}
        found = await self._post("/result", query, body)
        self.results.append(found)
        for name in ("task_id", "task_name", "job_id"):
            _text(found, name)
        _texts(found, "details")
        if _text(found, "status") != "OK":
            raise SdkError(_text(found, "message") or "Unknown error")

    async def _delay(self, ms: float) -> None:
        self.waits_ms.append(ms)
        self.slept_ms += ms
        await self.sleep_ms(ms)

    async def _post(self, path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
        sent = gson(body).encode()
        fields = "&".join(f"{name}={quote(value, safe='-._~')}" for name, value in query.items())
        answer = await self.line.post(f"{path}?{fields}" if fields else path, self._headers(sent), sent)
        if answer.status != 200:
            raise SdkError(ERRORS.get(answer.status, "failed"))
        try:
            found = json.loads(answer.body)
        except ValueError as error:
            raise SdkError(f"JsonSyntaxException: {error}") from error
        if not isinstance(found, dict):
            raise SdkError("JsonSyntaxException: no object")
        return found

    def _headers(self, body: bytes) -> Headers:
        own = {"device_id": self.device_id, "app_name": self.app_name, "app_version": "1.0", "platform": "android"}
        info = own if self.info is None else self.info
        return [
            ("X-Flare-Device-ID", self.device_id),
            ("X-Flare-Device-Info", "&".join(f"{key}={value}" for key, value in info.items())),
            ("X-Flare-User-Info", "user_id=default_user"),
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Host", self.line.host),
            ("Connection", "Keep-Alive"),
            ("Accept-Encoding", "gzip"),
            ("User-Agent", "okhttp/4.12.0"),
        ]


# --- job data -----------------------------------------------------------------------------------------------------


def _config(job_data: dict[str, Any]) -> dict[str, Any]:
    config = job_data.get("config")
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except ValueError:
            config = None
    return config if isinstance(config, dict) else job_data


def _executors(config: dict[str, Any]) -> Callable[[str], Any]:
    components = config.get("components")
    if not isinstance(components, list):
        raise Crash("missing components in config")
    objects: dict[str, Any] = {}
    for component in components:
        if component["type"] not in BUILT_IN:
            raise Crash(f"no resolver registered for component type {component['type']}")
        if component["name"] in objects:
            raise Crash(f"duplicate component definition for '{component['name']}'")
        objects[component["name"]] = component
    named = config.get("executors")
    if not isinstance(named, dict) or not named:
        return lambda task: objects.get("trainer")
    executors = {task: objects[reference.removeprefix("@")] for task, reference in named.items()}
    return lambda task: executors.get(task) or executors.get("*")


def _settings(executor: dict[str, Any]) -> dict[str, Any]:
    """What the SDK's executor is made with: all of ``meta``, or the little that is taken of a trainer's arguments."""
    args = executor.get("args") or {}
    if executor["type"] == EXECUTOR:
        return dict(args.get("meta") or {})
    lr = args.get("lr")
    return {"learning_rate": lr if isinstance(lr, float) else 0.0001}


def training_config(data: Mapping[str, Any], job_name: str) -> TrainingConfig:
    """Raises ValueError for what the SDK refuses."""
    method = data.get("method")
    if not isinstance(method, str):
        method = "cnn" if any(part in job_name.lower() for part in ("cifar", "cnn")) else "xor"
    dataset = data.get("dataset_type")
    if not isinstance(dataset, str):
        dataset = "cifar10" if method == "cnn" else "xor"

    def number(key: str, default: float) -> float:
        value = data.get(key)
        return float(value) if isinstance(value, float | Decimal) else default

    batch_size = int(number("batch_size", 1 if "xor" in (method, dataset) else 4))
    if method == "xor" and batch_size > XOR_BATCH_MAX:
        raise ValueError(f"XOR method requires batch size <= {XOR_BATCH_MAX}")
    return TrainingConfig(int(number("total_epochs", 1)), batch_size, number("learning_rate", 0.1), method)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> Any:
    """A number that is none of Kotlin's own types, as Gson parses it; anything else as it is."""
    return Decimal(str(value)) if _is_number(value) else value


def _task_data(found: dict[str, Any] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"data": found.get("data"), "meta": _object(found, "meta") or {}, "kind": _text(found, "kind")}


# --- Gson ---------------------------------------------------------------------------------------------------------


def _text(found: Mapping[str, Any], name: str) -> str | None:
    value = found.get(name)
    if isinstance(value, dict | list):
        raise SdkError(f"JsonSyntaxException: {name} is no text")
    return value if value is None or isinstance(value, str) else gson(value)


def _integer(found: Mapping[str, Any], name: str) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SdkError(f"JsonSyntaxException: {name} is no number") from None
    if isinstance(value, bool) or not number.is_integer() or abs(number) > INT_MAX:
        raise SdkError(f"JsonSyntaxException: {name} is no int")
    return int(number)


def _object(found: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = found.get(name)
    if value is not None and not isinstance(value, dict):
        raise SdkError(f"JsonSyntaxException: {name} is no object")
    return value


def _texts(found: Mapping[str, Any], name: str) -> None:
    for key in _object(found, name) or {}:
        _text(found[name], key)


def gson(value: Any) -> str:
    """JSON as Gson writes it: no spaces, and Java's way with floats."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{gson(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(gson, value)) + "]"
    return java_float(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def java_float(value: float) -> str:
    """``1.0E-4`` rather than ``0.0001``."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    digits, _, exponent = f"{value:e}".partition("e")
    digits = digits.rstrip("0")
    return f"{digits}0E{int(exponent)}" if digits.endswith(".") else f"{digits}E{int(exponent)}"
