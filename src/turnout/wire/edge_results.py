"""What a device learned: a posted result -> one finite float32 vector of the job's schema, and back.

``application/vnd.safetensors`` with the fields in the query, or FLARE's JSON in the job's form (``forms/``).
"""

import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from turnout.messages import VALIDATED, ModelSchema, ResultReport
from turnout.wire import tensors
from turnout.wire.edge_headers import TEXTS_KEPT_MAX, device_headers
from turnout.wire.edge_metrics import NONE as NO_METRICS
from turnout.wire.edge_metrics import Metrics, read_metrics, with_nulls
from turnout.wire.edge_requests import (
    MALFORMED,
    BadField,
    HttpRequest,
    MissingField,
    bad_body,
    query_value,
    read_cookie,
)
from turnout.wire.forms import FORMS, WEIGHTS

SAFETENSORS = "application/vnd.safetensors"
_SAFETENSORS_HEADER = ("Content-Type", SAFETENSORS)
OK = "OK"
ERROR = "ERROR"
ERROR_KIND = "error"  #: What iOS sends when its training failed.
TEXT_CHARS_MAX = 1024  #: Of an id, a name and the status.
TEXTS = ("job_id", "task_id", "task_name", "status")

_DECIMAL = re.compile(r"[0-9]{1,16}(\.[0-9]{1,17})?")  #: No sign, exponent, space, underscore or other digits.

SchemaOf = Callable[[str], ModelSchema | None]


class ResultFields(msgspec.Struct, frozen=True, array_like=True):
    """All of a result but its update and who sent it."""

    job_id: str
    task_id: str
    task_name: str
    num_examples: float = 1.0
    metrics: dict[str, float] = {}
    status: str = OK
    cookie: dict[str, Any] | None = None
    metrics_left_out: str = ""


class DecodedResult(msgspec.Struct, frozen=True, array_like=True):
    """``update`` is the flat vector, empty when the device reports a failure; None when the job's schema is unknown.

    ``absolute``: as in ResultReport.
    """

    fields: ResultFields
    update: memoryview | None
    absolute: bool = False


class ResultQuery(msgspec.Struct, frozen=True, array_like=True):
    """What the query of ``POST /result`` says, in texts of bounded length; a JSON body may say the rest."""

    job_id: str | None = None
    task_id: str | None = None
    task_name: str | None = None
    status: str | None = None
    num_examples: float | None = None
    metrics: Metrics = NO_METRICS


# What a device can make large stays text, Raw, until it is known not to be.


class _Dxo(msgspec.Struct):
    kind: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _ResultBody(msgspec.Struct):
    job_id: str | None = None
    task_id: str | None = None
    task_name: str | None = None
    status: str | None = None
    num_examples: float | None = None
    metrics: msgspec.Raw = msgspec.Raw(b"null")
    cookie: msgspec.Raw = msgspec.Raw(b"null")
    result: _Dxo | None = None


class _Ids(msgspec.Struct):
    """Of a result that cannot be read otherwise."""

    job_id: str | None = None
    task_id: str | None = None


_RESULT_BODY = msgspec.json.Decoder(_ResultBody)
_IDS = msgspec.json.Decoder(_Ids)


def decode_result_query(query: Mapping[str, str]) -> ResultQuery:
    """Raises BadField or BadBody for a field that cannot be read; none is required here."""
    num_examples, metrics = None, NO_METRICS
    if (text := query.get("num_examples")) is not None:
        if _DECIMAL.fullmatch(text) is None:
            raise BadField("num_examples in the query must be a plain decimal number, as in num_examples=32")
        num_examples = float(text)
    if (text := query.get("metrics")) is not None:
        metrics = read_metrics(text.encode())
    for name in TEXTS:
        if len(query.get(name, "")) > TEXT_CHARS_MAX:
            raise _too_long(name)
    return ResultQuery(
        query.get("job_id"), query.get("task_id"), query.get("task_name"), query.get("status"), num_examples, metrics
    )


def ids_in(body: bytes) -> dict[str, str]:
    """The ids that a body names whose rest could not be read; those that can be found."""
    try:
        found = _IDS.decode(body)
    except MALFORMED:
        return {}
    return {name: value for name, value in (("job_id", found.job_id), ("task_id", found.task_id)) if value is not None}


def result_from_safetensors(query: ResultQuery, body: bytes, schema_of: SchemaOf) -> DecodedResult:
    """A result whose body is the update alone, and empty when its status is not OK. Raises DeviceError."""
    if query.job_id is None:
        raise _missing("job_id")
    if query.task_id is None:
        raise _missing("task_id")
    if query.task_name is None:
        raise _missing("task_name")
    fields = ResultFields(
        query.job_id,
        query.task_id,
        query.task_name,
        1.0 if query.num_examples is None else query.num_examples,
        query.metrics.values,
        OK if query.status is None else query.status,
        metrics_left_out=query.metrics.left_out,
    )
    if not math.isfinite(fields.num_examples):
        raise _not_finite()
    if fields.status != OK:
        return DecodedResult(fields, memoryview(b""))
    schema = schema_of(fields.job_id)
    if schema is None:
        return DecodedResult(fields, None)
    return DecodedResult(fields, tensors.update_from_safetensors(body, schema))


def result_from_json(query: ResultQuery, body: bytes | memoryview, schema_of: SchemaOf) -> DecodedResult:
    """A result in FLARE's JSON; what its body says wins over the query. Raises DeviceError."""
    found = _body(query, body, schema_of)
    metrics = read_metrics(found.metrics)
    if metrics is NO_METRICS:
        metrics = query.metrics
    status = found.status or query.status or OK
    if status == OK and found.result is not None and found.result.kind == ERROR_KIND:
        status = ERROR
    fields = ResultFields(
        _either(found.job_id, query.job_id, "job_id"),
        _either(found.task_id, query.task_id, "task_id"),
        _either(found.task_name, query.task_name, "task_name"),
        next((n for n in (found.num_examples, query.num_examples) if n is not None), 1.0),
        metrics.values,
        status,
        read_cookie(found.cookie),
        metrics.left_out,
    )
    if not math.isfinite(fields.num_examples):
        raise _not_finite()
    _check_lengths(fields)
    if status != OK:
        return DecodedResult(fields, memoryview(b""))
    schema = schema_of(fields.job_id)
    if schema is None:
        return DecodedResult(fields, None)
    form = FORMS[schema.form]
    if found.result is None:
        raise MissingField(f"body of /result: missing result; send {form.example}")
    learned = form.decode(found.result.kind, found.result.data, schema)
    if found.num_examples is None and learned.count is not None:
        fields = msgspec.structs.replace(fields, num_examples=learned.count)
        if not math.isfinite(fields.num_examples):
            raise _not_finite()
    return DecodedResult(fields, _bytes_of(learned.vector), form.absolute)


def encode_result(result: ResultReport, schema: ModelSchema) -> HttpRequest:
    """What a device sends: raw safetensors, its fields in the query; no body when it has no update."""
    job_id, task_name = _remembered_value(result.job_id), _remembered_value(result.task_name)
    target = f"/result?job_id={job_id}&task_id={query_value(result.task_id)}&task_name={task_name}"
    body = b""
    if result.status == OK:
        body = tensors.update_to_safetensors(result.update, schema)
    else:
        target += f"&status={query_value(result.status)}"
    if result.status in (OK, VALIDATED):
        target += f"&num_examples={query_value(repr(float(result.num_examples)))}"
    if result.metrics:
        target += f"&metrics={query_value(msgspec.json.encode(result.metrics).decode())}"
    headers = (*device_headers(result.device, result.user), _SAFETENSORS_HEADER)
    return HttpRequest("POST", target, headers, body)


#: For what the results of many devices have in common.
_remembered_value = functools.lru_cache(maxsize=TEXTS_KEPT_MAX)(query_value)


def _body(query: ResultQuery, body: bytes | memoryview, schema_of: SchemaOf) -> _ResultBody:
    """The fields of a body. Python writes NaN into its JSON: into metrics it may."""
    try:
        return _RESULT_BODY.decode(body)
    except MALFORMED as error:
        wrong = bad_body("/result", error, _example(query.job_id, schema_of))
    fixed = with_nulls(body)
    if fixed is not None:
        try:
            return _RESULT_BODY.decode(fixed)
        except MALFORMED:
            pass  # there is more that is wrong
    raise wrong from None


def _example(job_id: str | None, schema_of: SchemaOf) -> str:
    """What a result of this job looks like."""
    schema = schema_of(job_id) if job_id else None
    return (WEIGHTS if schema is None else FORMS[schema.form]).example


def _either(in_body: str | None, in_query: str | None, name: str) -> str:
    value = in_body if in_body is not None else in_query
    if value is None:
        raise _missing(name)
    return value


def _missing(name: str) -> MissingField:
    return MissingField(f"missing {name}: send it in the query of /result, as in /result?{name}=...")


def _not_finite() -> BadField:
    """How many examples may be is the job's to judge, which knows the task and frees its place."""
    return BadField("num_examples must be a finite number")


def _check_lengths(fields: ResultFields) -> None:
    for name in TEXTS:
        if len(getattr(fields, name)) > TEXT_CHARS_MAX:
            raise _too_long(name)


def _too_long(name: str) -> BadField:
    return BadField(f"{name} is longer than {TEXT_CHARS_MAX} characters; echo that of the task unchanged")


def _bytes_of(vector: tensors.Vector) -> memoryview:
    return vector.view(np.uint8).data
