"""What is admitted, and for how long: every limit of a gateway, and the pure arithmetic on them."""

from dataclasses import dataclass

from turnout.gateway.bounds import (
    GRPC_CLIENT_BYTES_MAX,
    GRPC_MESSAGE_BYTES_MAX,
    RESULT_BYTES_MAX,
    RESULT_BYTES_MOST,
    WEIGHTS_MODEL_BYTES_MAX,
    WEIGHTS_MODEL_BYTES_MOST,
)
from turnout.messages import ModelSchema
from turnout.wire.tensors import ELEMENT_BYTES, num_parameters

RESULT_OVERHEAD_BYTES = 64 * 1024  #: Room in a result's body for all but the numbers: names, shapes, fields.
TENSOR_OVERHEAD_BYTES = 256  #: Room for what a tensor has beside its name and its numbers: lengths and strides.
#: The longest a float32 gets in JSON, with its comma, a space and a sign.
JSON_BYTES_PER_NUMBER = 28


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """The bounds of one gateway process. The defaults suit phones on mobile networks and one machine of a few GB."""

    #: Connections open at once; one more is told 503 and closed. About 10 kB each while idle; below the limit of open
    #: files (``ulimit -n``) of the process.
    connections_max: int = 50_000
    #: How many more may be told so at the same time; beyond these, connections are closed without a word.
    connections_spare: int = 256
    #: Requests of one connection that are answered at the same time; beyond it nothing more is read from it.
    #: Devices send one at a time; proxies seldom more than a few.
    pipeline_max: int = 16

    #: Path and query. A result carries its metrics and its task id in the query.
    target_bytes_max: int = 8 * 1024
    #: Request line and all headers together.
    head_bytes_max: int = 16 * 1024
    headers_max: int = 64
    #: Body of a job, task or selection request: a few names and a cookie.
    body_bytes_max: int = 64 * 1024
    #: Body of a result, whatever the job. The job's own limit, from the size of its model, is lower. Below the frames'
    #: payload limit, and at least 4 bytes for each parameter of the largest model.
    result_bytes_max: int = RESULT_BYTES_MAX
    #: A larger result is offered to its job before it is read, which costs a round trip inside the server. What arrives
    #: in one read anyway.
    ask_first_bytes: int = 16 * 1024
    #: Larger JSON results are decoded in a worker process: decoding holds the interpreter for about 1 ms per 50 kB.
    inline_decode_bytes: int = 64 * 1024
    #: JSON results that wait for a decoding worker; beyond it, 503.
    decode_queue_max: int = 32

    #: How often we look at the time: no other time here is kept more exactly, nor can be shorter.
    clock_s: float = 1.0
    #: A kept-alive connection without a request. Above the pause between a device's requests, so that a busy device
    #: keeps its connection, and below that of any proxy in front.
    idle_timeout_s: float = 75.0
    #: From the first byte of a request to the end of its headers. Several round trips on a bad network.
    head_timeout_s: float = 10.0
    #: A body may be late by this much ...
    body_grace_s: float = 10.0
    #: ... and must then have come at this rate on average. Below the slowest uplink worth waiting for.
    body_bytes_per_s_min: float = 2048.0
    #: However much has come, a body of which nothing comes for this long is given up: the device is gone, or has lost
    #: its network. Above the longest silence of a bad connection: TCP sends again after 1, 3, 7 and 15 s.
    body_stall_s: float = 20.0
    #: A large result that has stalled for this long gives way to the same one on another connection. Above the
    #: clock's second, and below the time after which a device that lost its network tries again.
    upload_takeover_s: float = 3.0
    #: However steadily it comes, a body takes no longer: its room is kept from others all the while. Above the size of
    #: the largest result over the slowest uplink worth waiting for: 15 MB at 1 Mbit/s.
    body_time_max_s: float = 120.0
    #: A device that takes nothing of its reply for this long is gone.
    write_stall_timeout_s: float = 30.0
    #: A result waits this long for its job's word and for room in the gateway's memory, then it is told 503.
    admission_timeout_s: float = 15.0
    #: What a device is told to wait by 503 and Retry-After.
    retry_after_s: int = 5

    #: After a refusal, what is still coming is thrown away until nothing has come for this long, and at most this
    #: many bytes, so that the sender sees the reply and not a reset connection. A body that is refused may come to its
    #: announced end, whatever the reason: OkHttp and Python's http.client read no reply before.
    linger_s: float = 2.0
    linger_bytes_max: int = 512 * 1024
    #: The largest body that may come so to its announced end, within ``body_time_max_s``; a result that its job does
    #: not want may be as large as one that it wants. Of a larger one ``linger_bytes_max`` are read.
    linger_announced_bytes_max: int = 16 * 1024 * 1024
    #: The unread body of a refused request that is read and thrown away to keep the connection.
    discard_bytes_max: int = 64 * 1024
    #: How long requests in flight may take when the gateway ends.
    close_timeout_s: float = 10.0
    #: How long they may take when it has a successor. Above ``body_time_max_s`` and the result's time-out, and below
    #: the supervisor's patience with it.
    drain_timeout_s: float = 140.0
    #: How long an idle connection may then stay: its next request may be under way.
    drain_idle_s: float = 2.0

    #: Model files kept open, by their size. Large ones are mapped: pages of the system's cache, not memory of ours.
    blobs_bytes_max: int = 512 * 1024 * 1024
    #: The largest model file that is sent as JSON, which takes five times as much. What a job exports for ExecuTorch is
    #: bounded where it is made. Devices that get one send as much back: see ``result_bytes_max``.
    weights_model_bytes_max: int = WEIGHTS_MODEL_BYTES_MAX
    #: JSON of models kept for devices that do not take safetensors. This is memory.
    weights_bytes_max: int = 256 * 1024 * 1024
    #: Model files that are being opened or turned into JSON at once; beyond it, 503.
    loads_max: int = 64


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """The bounds of one gateway's gRPC server, beside those that it shares with HTTP.

    gRPC hands over whole messages, so one is in memory before anything is known of it: at most ``calls_max`` times
    ``message_bytes_max`` bytes are, and at most ``reads_max`` messages are on their way into it.
    """

    #: The largest message, either way. Above the JSON of the largest model, and of its results, which have more digits.
    #: Clients as they come, FLARE's among them, take 4 MiB; a larger model needs another setting there too.
    message_bytes_max: int = GRPC_MESSAGE_BYTES_MAX
    #: Requests that are read or answered at once; one more is told RESOURCE_EXHAUSTED before its message is read. A
    #: result is held until its commit, so a gateway counts at most this many results a commit.
    calls_max: int = 256
    #: Of these, by one connection; a client's next waits on its own side. Far below ``calls_max``, so that none keeps
    #: the others out.
    connection_calls_max: int = 16
    #: Messages that are being read at once. One more waits for its turn, for ``admission_timeout_s`` of the gateway.
    reads_max: int = 64
    #: The longest that a message may take to come once it is its turn. Of one on its way nothing is seen, so this is
    #: also how long one that never comes keeps its place: 16 MiB at 10 Mbit/s take as long.
    read_time_max_s: float = 15.0
    #: Connections open at once. FLARE's proxy makes one for each request.
    connections_max: int = 8192
    #: A silent connection is asked this often whether it lives ...
    keepalive_s: float = 60.0
    #: ... and given up when it does not say so within this.
    keepalive_timeout_s: float = 20.0
    #: The longest that a reply may take to be sent, however steadily.
    reply_time_max_s: float = 120.0
    #: A connection is asked to end after this, and ends after the grace: only so does what a client never took of a
    #: reply go. Clients connect again by themselves.
    connection_age_max_s: float = 600.0
    connection_age_grace_s: float = 140.0


def body_overdue(started: float, received_bytes: int, now: float, limits: GatewayLimits) -> bool:
    """Whether a body comes too slowly. ``started`` is when we last began to wait for it."""
    return now - started > limits.body_grace_s + received_bytes / limits.body_bytes_per_s_min


def result_bytes(schema: ModelSchema, number_bytes: int = ELEMENT_BYTES) -> int:
    """How large a result of this model can be whose numbers have this many bytes each; as safetensors by default."""
    names = sum(len(tensor.name) * 4 + TENSOR_OVERHEAD_BYTES for tensor in schema.tensors)
    return num_parameters(schema) * number_bytes + names + RESULT_OVERHEAD_BYTES


def too_large_to_send(schema: ModelSchema, result_bytes_max: int) -> str:
    """Why no result of this model could ever count, and the way out; empty if it could."""
    needed = result_bytes(schema)
    if needed <= result_bytes_max:
        return ""
    way = "train a smaller model, or a part of it"
    if needed <= RESULT_BYTES_MOST:
        way += f", or run the server with: turnout up --result-bytes-max {needed}"
    return (
        f"no result of this job could be sent: the model has {num_parameters(schema):,} parameters, a result has up to "
        f"{needed:,} bytes, and {result_bytes_max:,} are allowed; {way}"
    )


def too_large_as_json(schema: ModelSchema, result_bytes_max: int, weights_model_bytes_max: int) -> str:
    """Why devices that speak JSON alone could not train this model, and the way out; empty if they could."""
    model, result = result_bytes(schema), result_bytes(schema, JSON_BYTES_PER_NUMBER)
    if model > weights_model_bytes_max:
        what = f"get no model of more than {weights_model_bytes_max:,} bytes, and this one has up to {model:,}"
        way = f"--weights-model-bytes-max {model}" if model <= WEIGHTS_MODEL_BYTES_MOST else ""
    elif result > result_bytes_max:
        what = f"may send no more than {result_bytes_max:,} bytes, and a result of this model has up to {result:,}"
        way = f"--result-bytes-max {result}" if result <= RESULT_BYTES_MOST else ""
    else:
        return ""
    server = f"run the server with: turnout up {way}; or " if way else ""
    return (
        f"devices that take no safetensors, FLARE's among them, {what}; {server}train a smaller model, or let devices "
        'send "accept": ["safetensors"], as turnout\'s own do'
    )


def too_large_by_grpc(message_bytes: int) -> str:
    """What to set for a model whose tasks and results have about this many bytes as JSON; empty: nothing."""
    if message_bytes <= GRPC_CLIENT_BYTES_MAX:
        return ""
    server = ""
    if message_bytes > GRPC_MESSAGE_BYTES_MAX:
        server = f", and run the server with a --grpc-message-bytes-max above that, not {GRPC_MESSAGE_BYTES_MAX:,}"
    return (
        f"by gRPC a task has about {message_bytes:,} bytes, and clients take {GRPC_CLIENT_BYTES_MAX:,} unless they are "
        f"told otherwise, FLARE's among them: raise the limit in the client{server}; HTTP has no such limit"
    )
