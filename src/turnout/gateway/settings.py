"""What an operator may set: the ``[limits]`` of a server's settings. All limits of a gateway are in ``limits.py``.

No number library is needed for it: the supervisor and the command line read it too.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from turnout.gateway.bounds import (
    GRPC_MESSAGE_BYTES_MAX,
    RESULT_BYTES_MAX,
    RESULT_BYTES_MOST,
    WEIGHTS_MODEL_BYTES_MAX,
    WEIGHTS_MODEL_BYTES_MOST,
)

RETIRE_MARGIN_S = 20.0  #: From the longest upload to the end of a gateway that has a successor.

Bytes = Annotated[int, Meta(ge=1, le=2**40)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a server takes. Each is for one gateway process; the defaults suit phones and a machine of a few GB."""

    #: Connections open at once; one more is told 503. Below the limit of open files (``ulimit -n``).
    connections_max: Annotated[int, Meta(ge=1, le=10_000_000)] = 50_000
    #: Seconds that a connection may be open without a request. Above the time between a device's requests, and below
    #: the time-out of a proxy in front.
    idle_timeout_s: Annotated[float, Meta(ge=2, le=86_400)] = 75.0
    #: Seconds that the body of a request may take, however steadily it comes. Above the size of the largest result
    #: over the slowest uplink worth waiting for: 15 MB at 1 Mbit/s by default.
    body_time_max_s: Annotated[float, Meta(ge=5, le=3600)] = 120.0
    #: Bytes per second at which a body must come on average. Below the slowest uplink worth waiting for.
    body_bytes_per_s_min: Annotated[float, Meta(gt=0, le=1e9)] = 2048.0
    #: The largest result that a device may send, in bytes: 4 for each parameter of the model, more as JSON.
    result_bytes_max: Annotated[int, Meta(ge=1, le=RESULT_BYTES_MOST)] = RESULT_BYTES_MAX
    #: Bytes of results that are in memory at once, over all jobs. Four times the largest result, or more.
    results_bytes_max: Bytes = 256 * 1024 * 1024
    #: Requests to one job that wait for its answer, results apart.
    inflight_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 4096
    #: Bytes of model files that are kept open. They are mapped: this is the system's cache, not memory.
    blobs_bytes_max: Bytes = 512 * 1024 * 1024
    #: The largest model that is sent as JSON, in bytes, to devices that do not take safetensors.
    weights_model_bytes_max: Annotated[int, Meta(ge=1, le=WEIGHTS_MODEL_BYTES_MOST)] = WEIGHTS_MODEL_BYTES_MAX
    #: Bytes of models kept as JSON. This is memory; five times ``weights_model_bytes_max`` or more.
    weights_bytes_max: Bytes = 256 * 1024 * 1024
    #: The largest message by gRPC, either way, in bytes. Clients take 4 MiB unless they are told otherwise.
    grpc_message_bytes_max: Annotated[int, Meta(ge=1, le=2**31 - 1)] = GRPC_MESSAGE_BYTES_MAX
    #: A process that sends no heartbeat for this many seconds is killed and started again.
    hang_s: Annotated[float, Meta(ge=3, le=3600)] = 20.0

    @property
    def retire_s(self) -> float:
        """How long requests may take in a gateway that has a successor: a result that is on its way is finished."""
        return self.body_time_max_s + RETIRE_MARGIN_S
