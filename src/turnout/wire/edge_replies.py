"""What a device is told: responses -> JSON, in the words and units its platform understands, and back.

Nulls are left out, as FLARE does. ``retry_wait`` leaves as an integer: seconds rounded up, but milliseconds for
Android, whose SDK sleeps that long. Where an SDK would throw work or its whole session away on a status, that platform
is told another one; ``counted`` tells the truth to everybody.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from turnout.errors import ServerError
from turnout.messages import (
    OK,
    EdgeRequest,
    EdgeResponse,
    JobRequest,
    JobResponse,
    ModelRef,
    ResultResponse,
    SelectionRequest,
    SelectionResponse,
    Status,
    TaskRequest,
    TaskResponse,
)
from turnout.wire.edge_headers import ANDROID, IOS, phone
from turnout.wire.forms import Form

MODEL_REF = "model_ref"
SAFETENSORS_FORMAT = "safetensors"  #: The word in ``accept`` and in ``format``.
LISTED_KEPT_MAX = 256  #: Listed jobs whose JSON is remembered, with the device config.
MODEL_VERSION, LEARNING_RATE = "model_version", "learning_rate"

#: Android ends its session on anything but OK for a result, and RETRY does not make it send the result again.
#: iOS ends its session on ERROR and INVALID_REQUEST, and takes the next task on NO_TASK.
RESULT_STATUS: Mapping[str, Mapping[Status, Status]] = {
    ANDROID: {Status.NO_TASK: Status.OK, Status.ERROR: Status.OK, Status.RETRY: Status.OK},
    IOS: {Status.ERROR: Status.NO_TASK, Status.RETRY: Status.NO_TASK},
}


class HttpReply(msgspec.Struct, frozen=True):
    """A whole reply, as devices get it. Only the headers that they read are there, in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    seconds: float = 0.0  #: From sending the request to the end of the reply.


class _Job(msgspec.Struct, omit_defaults=True):
    status: Status
    job_id: str | None = None
    job_name: str | None = None
    job_data: Any = None
    retry_wait: int | None = None
    message: str | None = None


class _ModelRef(msgspec.Struct):
    href: str
    bytes: int
    sha256: str
    meta: dict[str, Any]
    format: str = SAFETENSORS_FORMAT
    kind: str = MODEL_REF


class _Task(msgspec.Struct, omit_defaults=True):
    status: Status
    job_id: str | None = None
    retry_wait: int | None = None
    task_id: str | None = None
    task_name: str | None = None
    cookie: dict[str, Any] | None = None
    lease_s: float | None = None
    message: str | None = None
    task_data: _ModelRef | None = None


class _Selection(msgspec.Struct, omit_defaults=True):
    status: Status
    job_id: str | None = None
    task_id: str | None = None
    selection: dict[str, int] | None = None
    retry_wait: int | None = None
    message: str | None = None


class _Result(msgspec.Struct, omit_defaults=True):
    status: Status
    counted: bool | None = None
    task_id: str | None = None
    task_name: str | None = None
    message: str | None = None
    retry_wait: int | None = None
    duplicate: bool = False


def blob_path(job_id: str, sha256: str) -> str:
    """Where a gateway serves a model."""
    return f"/blob/{job_id}/{sha256}"


class ReplyWriter:
    """Turns responses into JSON. Remembers that of a response which many devices get: a listed job."""

    def __init__(self) -> None:
        self._encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
        self._listed: dict[int, tuple[JobResponse, bytes]] = {}  # by identity, which lasts as they are kept here

    def encode(self, response: EdgeResponse, platform: str = "") -> bytes:
        """The JSON body of a reply; a task's model is named, not sent."""
        if type(response) is TaskResponse:
            return self._encode(_task(response, platform))
        if type(response) is JobResponse:
            return self._job(response, platform)
        if type(response) is ResultResponse:
            if response.retry_wait is None and (response.status is OK or not platform):
                return self._encode(response)  # its words are what a device is told
            return self._result(response, platform)
        assert type(response) is SelectionResponse
        return self._encode(
            _Selection(
                response.status,
                response.job_id,
                response.task_id,
                response.selection,
                _wait(response.retry_wait, platform),
                response.message,
            )
        )

    def encode_with_weights(
        self, response: TaskResponse, platform: str, weights: bytes, form: Form
    ) -> tuple[bytes, bytes, bytes]:
        """A task reply with the model in it, as FLARE sends it, in three parts so that ``weights`` is never copied.

        ``weights`` is what ``form`` made of the model.
        """
        assert response.task_data is not None
        rest = _task(response, platform)
        rest.task_data = None
        opening = self._encode(rest)[:-1] + b',"task_data":{"kind":"%b","meta":' % form.kind.encode()
        meta = {**_readable(response.task_data.meta, platform, form), **form.meta}
        return opening + self._encode(meta) + b',"data":', weights, b"}}"

    def _job(self, response: JobResponse, platform: str) -> bytes:
        if response.job_id is None or response.retry_wait is not None:
            return self._encode(_job(response, platform))
        kept = self._listed.get(id(response))
        if kept is None:
            if len(self._listed) >= LISTED_KEPT_MAX:
                self._listed.clear()
            kept = self._listed[id(response)] = response, self._encode(_job(response, platform))
        return kept[1]

    def _result(self, response: ResultResponse, platform: str) -> bytes:
        status = response.status
        if status is not OK:
            status = RESULT_STATUS.get(platform.lower(), {}).get(status, status)
        return self._encode(
            _Result(
                status,
                response.counted,
                response.task_id,
                response.task_name,
                response.message,
                _wait(response.retry_wait, platform),
                response.duplicate,
            )
        )


def _job(response: JobResponse, platform: str) -> _Job:
    data: object = response.job_data
    if response.job_data is not None and response.job_data.keys() == {"config"}:
        data = _without_nulls(response.job_data)
    return _Job(
        response.status,
        response.job_id,
        response.job_name,
        data,
        _wait(response.retry_wait, platform),
        response.message,
    )


def _task(response: TaskResponse, platform: str) -> _Task:
    model = response.task_data
    ref = None
    if model is not None:
        ref = _ModelRef(blob_path(response.job_id or "", model.sha256), model.bytes, model.sha256, model.meta)
    return _Task(
        response.status,
        response.job_id,
        None if response.retry_wait is None else _wait(response.retry_wait, platform),
        response.task_id,
        response.task_name,
        response.cookie,
        response.lease_s,
        response.message,
        ref,
    )


def _readable(meta: dict[str, Any], platform: str, form: Form) -> dict[str, Any]:
    """What goes with a model that FLARE's SDKs train, without the settings that they would read wrongly there.

    Meta goes before what an SDK was told with its job, where these settings are as well. To Android numbers are no
    numbers in it (its own ``asMap`` is hidden by one of Gson 2.10), and iOS wants another type for the learning rate.
    """
    sdk = phone(platform) if form.exported else ""
    if sdk == ANDROID:
        return {key: value for key, value in meta.items() if key == MODEL_VERSION}
    if sdk == IOS:
        return {key: value for key, value in meta.items() if key != LEARNING_RATE}
    return meta


def _wait(seconds: float | None, platform: str) -> int | None:
    if seconds is None:
        return None
    return math.ceil(seconds * 1000) if platform and platform.lower() == ANDROID else math.ceil(seconds)


def _without_nulls(value: object) -> object:
    """The same JSON value without null members of objects, at every level but inside lists."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


# --- the device's side --------------------------------------------------------------------------------------------

_JOB = msgspec.json.Decoder(_Job)
_TASK = msgspec.json.Decoder(_Task)
_SELECTION = msgspec.json.Decoder(_Selection)
_RESULT = msgspec.json.Decoder(_Result)


def decode_response(request: EdgeRequest, body: bytes, platform: str = "") -> EdgeResponse:
    """What the body of an HTTP 200 answers to ``request``. Raises ServerError when it does not answer it."""
    try:
        if isinstance(request, JobRequest):
            return _decode_job(_JOB.decode(body), platform)
        if isinstance(request, TaskRequest):
            return _decode_task(_TASK.decode(body), platform)
        if isinstance(request, SelectionRequest):
            found = _SELECTION.decode(body)
            wait = _seconds(found.retry_wait, platform)
            return SelectionResponse(found.status, found.job_id, found.task_id, found.selection, wait, found.message)
        return _decode_result(_RESULT.decode(body), platform)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServerError(f"the server's answer to a {type(request).__name__} cannot be read: {error}") from None


def _decode_job(found: _Job, platform: str) -> JobResponse:
    if found.job_data is not None and not isinstance(found.job_data, dict):
        raise ServerError("the server's job_data is not an object")
    return JobResponse(
        found.status,
        found.job_id,
        found.job_name,
        found.job_data,
        _seconds(found.retry_wait, platform),
        found.message,
    )


def _decode_task(found: _Task, platform: str) -> TaskResponse:
    model = None
    if found.task_data is not None:
        if found.task_data.kind != MODEL_REF or found.task_data.format != SAFETENSORS_FORMAT:
            raise ServerError(
                f'the server sent a model of kind "{found.task_data.kind}", not a reference to safetensors'
            )
        model = ModelRef(found.task_data.sha256, found.task_data.bytes, found.task_data.meta)
    return TaskResponse(
        found.status,
        found.job_id,
        found.task_id,
        found.task_name,
        model,
        found.cookie,
        found.lease_s,
        _seconds(found.retry_wait, platform),
        found.message,
    )


def _decode_result(found: _Result, platform: str) -> ResultResponse:
    """A server that does not say ``counted`` counts what it answers with OK."""
    counted = found.status is Status.OK if found.counted is None else found.counted
    return ResultResponse(
        found.status,
        counted,
        found.task_id,
        found.task_name,
        found.message,
        _seconds(found.retry_wait, platform),
        found.duplicate,
    )


def _seconds(wait: int | None, platform: str) -> float | None:
    if wait is None:
        return None
    return wait / 1000 if platform.lower() == ANDROID else float(wait)
