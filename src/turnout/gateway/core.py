"""All that a gateway decides about a request, in two steps, so that nothing large is read for nobody. Pure.

``expect`` sees what is known without the body and refuses, or gives the call whose body is to be read; ``body`` sees
that and refuses, or gives the message that the dispatcher shall forward. Protocols own sockets, clocks and their words.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from turnout.errors import DeviceError
from turnout.gateway import decode
from turnout.gateway.calls import Call, Kind, Refusal, refused
from turnout.gateway.limits import JSON_BYTES_PER_NUMBER, GatewayLimits, result_bytes
from turnout.gateway.routes import Route
from turnout.messages import (
    DeviceInfo,
    EdgeRequest,
    EdgeResponse,
    ModelSchema,
    RefusedResult,
    ResultOffer,
    ResultReport,
    ResultResponse,
    Status,
    TaskRequest,
    UserInfo,
)
from turnout.wire import edge_results
from turnout.wire.edge_headers import phone
from turnout.wire.edge_replies import SAFETENSORS_FORMAT
from turnout.wire.edge_requests import BadField, decode_job, decode_selection, decode_task
from turnout.wire.edge_results import SAFETENSORS, DecodedResult, result_from_json, result_from_safetensors
from turnout.wire.forms import FORMS, WEIGHTS, Form

JOBS_KEPT_MAX = 1024  #: Jobs whose limits of results are remembered.

SchemaOf: TypeAlias = Callable[[str], ModelSchema | None]

# On the hot path: looking up a member of an enumeration is slow in Python 3.11.
_JOB: Final = Route.JOB
_TASK: Final = Route.TASK
_RESULT: Final = Route.RESULT
_DECODED = msgspec.msgpack.Decoder(DecodedResult)


class Decode(msgspec.Struct, frozen=True):
    """A result too large to decode here: ``payload`` for a worker, whose answer goes to ``GatewayCore.decoded``."""

    payload: bytes


class GatewayCore:
    """The decisions of one gateway. ``schema_of`` knows the jobs."""

    def __init__(self, schema_of: SchemaOf, limits: GatewayLimits) -> None:
        self._schema_of = schema_of
        self._limits = limits
        self._sizes: dict[str, tuple[ModelSchema, int, int]] = {}  # limits of results as safetensors, and as JSON

    # --- the first step ---

    def longest(self, route: Route) -> int:
        """How large the body of such a request may be, before anything else is known of it."""
        return self._limits.result_bytes_max if route is _RESULT else self._limits.body_bytes_max

    def expect(
        self,
        route: Route,
        device: DeviceInfo,
        user: UserInfo,
        fields: Mapping[str, str],
        length: int | None,
        inline: bool = False,
    ) -> Refusal | Call:
        """What to do about a body of ``length`` bytes, None when that is not known, by what is known without it."""
        if route is _RESULT:
            return self.expect_result(device, user, fields, length, binary=False)
        limit = self._limits.body_bytes_max
        if length is not None and length > limit:
            return too_large(limit)
        return Call(route, device, user, fields, limit, inline=inline)

    def expect_result(
        self, device: DeviceInfo, user: UserInfo, fields: Mapping[str, str], length: int | None, binary: bool
    ) -> Refusal | Call:
        """The same for a result."""
        job_id = fields.get("job_id", "")
        schema = self._schema_of(job_id) if job_id else None
        limits = self._limits
        limit = limits.result_bytes_max
        if schema is not None:
            sizes = self._sizes.get(job_id)
            if sizes is None or sizes[0] is not schema:
                sizes = self._keep_sizes(job_id, schema)
            limit = sizes[1] if binary else sizes[2]
        if length is not None and length > limit:
            no_choice = binary or phone(device.platform) != ""  # whose SDKs speak JSON alone
            refusal = too_large(limit, "a result of this job", no_choice, limit == limits.result_bytes_max)
            return self._of_result(refusal, device, fields)
        try:
            result = edge_results.decode_result_query(fields)
        except DeviceError as error:
            return self._of_result(refused(error), device, fields)
        offer = None
        if length is None or length > limits.ask_first_bytes:
            if result.job_id is None or result.task_id is None:
                return self._of_result(_task_not_in_query(limits.ask_first_bytes), device, fields)
            offer = ResultOffer(device, result.job_id, result.task_id)
        return Call(_RESULT, device, user, fields, limit, binary, "" if schema is None else job_id, result, offer)

    def form_of(self, job_id: str) -> Form:
        """What devices of this job speak that take no safetensors."""
        schema = self._schema_of(job_id)
        return WEIGHTS if schema is None else FORMS[schema.form]

    def _keep_sizes(self, job_id: str, schema: ModelSchema) -> tuple[ModelSchema, int, int]:
        """How large a result of this job can be, as safetensors and as JSON."""
        if len(self._sizes) >= JOBS_KEPT_MAX:
            self._sizes.clear()
        most = self._limits.result_bytes_max
        as_json = min(result_bytes(schema, JSON_BYTES_PER_NUMBER), most)
        self._sizes[job_id] = sizes = schema, min(result_bytes(schema), most), as_json
        return sizes

    # --- the second step ---

    def body(self, call: Call, data: bytes) -> Refusal | EdgeRequest | Decode:
        """What to do with the body of a call."""
        try:
            route = call.route
            if route is _TASK:
                task = decode_task(call.device, call.user, call.query, data)
                return _with_model_inside(task) if call.inline and task.accept else task
            if call.binary:
                assert call.result is not None, "only results are binary"
                return self._report(call, result_from_safetensors(call.result, data, self._schema_of))
            if route is _RESULT:
                return self._result_of_json(call, data)
            if route is _JOB:
                return decode_job(call.device, call.user, data)
            return decode_selection(call.device, call.user, call.query, data)
        except DeviceError as error:
            return self.refuse(call, refused(error), data)

    def _result_of_json(self, call: Call, data: bytes) -> EdgeRequest | Decode:
        query, offer = call.result, call.offer
        assert query is not None, "the call of a result has its query"
        if len(data) <= self._limits.inline_decode_bytes or offer is None:
            return self._report(call, result_from_json(query, data, self._schema_of))
        schema = self._schema_of(offer.job_id)
        return offer if schema is None else Decode(decode.result_work(query, schema, data))

    def decoded(self, call: Call, answer: bytes) -> Refusal | EdgeRequest:
        """What to do with a result that a worker has decoded."""
        try:
            return self._report(call, _DECODED.decode(answer))
        except DeviceError as error:
            return self.refuse(call, refused(error))

    def refuse(self, call: Call, refusal: Refusal, body: bytes = b"") -> Refusal:
        """A refusal of this call, with what its job is told of it: if it was a result, and of a job of ours."""
        if call.result is None:
            return refusal
        fields = call.query
        if "job_id" not in fields or "task_id" not in fields:
            fields = {**edge_results.ids_in(body), **fields}
        return self._of_result(refusal, call.device, fields)

    def _of_result(self, refusal: Refusal, device: DeviceInfo, fields: Mapping[str, str]) -> Refusal:
        """A refused result. Its sender hears why; phones, whose SDKs would give up on it, as if the job had said so."""
        job_id, task_id = fields.get("job_id", ""), fields.get("task_id", "")[: edge_results.TEXT_CHARS_MAX]
        if refusal.kind is Kind.BUSY or self._schema_of(job_id) is None:
            return refusal
        about = RefusedResult(device, job_id, task_id, refusal.reason, refusal.text)
        instead = None
        if phone(device.platform):
            instead = ResultResponse(Status.ERROR, False, task_id or None, fields.get("task_name"), refusal.text)
        return msgspec.structs.replace(refusal, about=about, instead=instead)

    def _report(self, call: Call, result: DecodedResult) -> EdgeRequest:
        """The message for the job; only an offer while the job's schema is unknown, so that its absence is told."""
        fields, offer = result.fields, call.offer
        if offer is not None and (offer.job_id, offer.task_id) != (fields.job_id, fields.task_id):
            raise BadField("job_id and task_id in the body are others than in the query; send them once, in the query")
        if result.update is None:
            return ResultOffer(call.device, fields.job_id, fields.task_id)
        return ResultReport(
            call.device,
            fields.job_id,
            fields.task_id,
            fields.task_name,
            result.update,
            fields.num_examples,
            fields.metrics,
            fields.status,
            fields.cookie,
            call.user,
            result.absolute,
            fields.metrics_left_out,
        )


def send_it(response: EdgeResponse) -> bool:
    """Whether this answer to an offer asks for the body. Any other is the final answer."""
    return isinstance(response, ResultResponse) and response.status is Status.OK and not response.counted


def too_large(limit_bytes: int, what: str = "this request", no_choice: bool = True, by_option: bool = False) -> Refusal:
    """What would fit. ``by_option``: not the job says so, but an option of the server."""
    hint = "" if no_choice else f"; as {SAFETENSORS} it is much smaller"
    hint += "; the server's --result-bytes-max allows no more" if by_option else ""
    return Refusal(Kind.TOO_LARGE, "too_large", f"the body of {what} may have {limit_bytes} bytes at most{hint}")


def _with_model_inside(task: TaskRequest) -> TaskRequest:
    """Of a device that can reach nothing else of ours than this call."""
    return msgspec.structs.replace(task, accept=tuple(word for word in task.accept if word != SAFETENSORS_FORMAT))


def _task_not_in_query(ask_first_bytes: int) -> Refusal:
    return Refusal(
        Kind.INVALID,
        "task_not_in_query",
        f"a result in chunks or over {ask_first_bytes} bytes is read only for a task that takes it: send job_id and "
        "task_id in the query, as in /result?job_id=...&task_id=...",
    )
