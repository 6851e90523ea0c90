"""What all calls of a gateway share, whatever protocol they come by. Pure."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from turnout.blobs.base import BlobName, Busy
from turnout.dispatcher.room import Room
from turnout.gateway.calls import Refusal
from turnout.gateway.core import GatewayCore
from turnout.gateway.counters import Counters
from turnout.gateway.limits import GatewayLimits
from turnout.messages import EdgeRequest, EdgeResponse, RefusedResult
from turnout.wire.edge_replies import ReplyWriter
from turnout.wire.forms import Form

if TYPE_CHECKING:
    from turnout.gateway.exchange import Exchange


class Dispatcher(Protocol):
    """What a gateway needs of the dispatcher."""

    room: Room

    def submit(self, request: EdgeRequest, answer: Callable[[EdgeResponse], None], has_room: bool = False) -> None: ...
    def refused(self, result: RefusedResult) -> None: ...


class BlobSource(Protocol):
    """Where models come from: ``blobs/cache.py``."""

    def fetch(self, name: BlobName, done: Callable[[memoryview | Busy | None], None]) -> None: ...


class WeightSource(Protocol):
    """Where the JSON of models comes from: ``weights.py``."""

    def fetch(self, name: BlobName, form: Form, done: Callable[[bytes | Busy | None], None]) -> None: ...


class Site:
    """The parts of one gateway, and the large results that it reads now."""

    __slots__ = (
        "blobs",
        "core",
        "counters",
        "decode",
        "dispatcher",
        "draining",
        "limits",
        "now",
        "uploads",
        "weights",
        "writer",
    )

    def __init__(
        self,
        core: GatewayCore,
        dispatcher: Dispatcher,
        blobs: BlobSource,
        weights: WeightSource,
        decode: Callable[[bytes, Callable[[bytes | Refusal], None]], None],
        counters: Counters,
        limits: GatewayLimits,
    ) -> None:
        self.core = core
        self.dispatcher = dispatcher
        self.blobs = blobs
        self.weights = weights
        self.decode = decode
        self.counters = counters
        self.limits = limits
        self.writer = ReplyWriter()
        self.uploads: dict[tuple[str, str], Exchange] = {}  #: Each large result that is admitted, by job and task.
        self.draining = False  #: Each reply is the last of its connection.
        self.now = 0.0  #: Seconds on a coarse clock: time-outs need no better one than once a second.
