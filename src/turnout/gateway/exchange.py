"""One request and its answer, from the end of its headers to the bytes of its reply."""

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Protocol

import msgspec

from turnout.blobs.base import BlobName
from turnout.blobs.cache import Busy
from turnout.dispatcher.room import Room
from turnout.gateway.core import (
    BlobReply,
    BlobWanted,
    Decode,
    Expect,
    GatewayCore,
    select_blob,
    send_it,
    takes_model_by_reference,
)
from turnout.gateway.counters import OTHER, Counters
from turnout.gateway.http1.heads import KnownHeads
from turnout.gateway.http1.replies import Header, Reply, head_bytes, header_lines, refusal, unavailable
from turnout.gateway.limits import GatewayLimits
from turnout.messages import (
    EdgeRequest,
    EdgeResponse,
    RefusedResult,
    ResultOffer,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
)
from turnout.wire.edge_replies import ReplyWriter
from turnout.wire.forms import Form

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"  #: Only said to HTTP/1.0, where it is not the default.
OCTETS = b"application/octet-stream"
#: Larger replies are written in pieces as the device takes them.
WRITE_BYTES = 64 * 1024

TOO_MANY = "too many models are being read; ask again later"
STARTED = "the job has just started; send it again"
TWICE = "this result is being sent on another connection already; send it again later"
NOT_AS_JSON = (
    "the model has {bytes} bytes, and at most {bytes_max} are sent as JSON: ask by HTTP with "
    '"accept": ["safetensors"] in the task request, or raise --weights-model-bytes-max of the server'
)
LENGTHS = 4096  #: Most replies are shorter.
LENGTH_LINES = tuple(b"%d\r\n\r\n" % length for length in range(LENGTHS))  #: The end of their heads.

Buffers = tuple[bytes | memoryview, ...]


class Dispatcher(Protocol):
    """What a gateway needs of the dispatcher."""

    room: Room

    def submit(self, request: EdgeRequest, answer: Callable[[EdgeResponse], None], has_room: bool = False) -> None: ...
    def refused(self, result: RefusedResult) -> None: ...


class BlobSource(Protocol):
    """Where models come from: ``blobs.py``."""

    def fetch(self, name: BlobName, done: Callable[[memoryview | Busy | None], None]) -> None: ...


class WeightSource(Protocol):
    """Where the JSON of models comes from: ``weights.py``."""

    def fetch(self, name: BlobName, form: Form, done: Callable[[bytes | Busy | None], None]) -> None: ...


class Site:
    """What all connections of a gateway share."""

    __slots__ = (
        "blobs",
        "core",
        "counters",
        "date",
        "decode",
        "dispatcher",
        "draining",
        "emptied",
        "heads",
        "host",
        "limits",
        "now",
        "ok_head",
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
        decode: Callable[[bytes, Callable[[bytes | Reply], None]], None],
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
        self.heads = KnownHeads(core)
        self.uploads: dict[tuple[str, str], Exchange] = {}  #: Each large result that is let in, by job and task.
        self.draining = False
        self.emptied = asyncio.Event()  #: The last connection is gone.
        self.host = b""  #: The Host header that was found right last: most requests have the same one.
        self.set_time(0.0, b"")

    def set_time(self, now: float, date: bytes) -> None:
        """Set the gateway's coarse clock: time-outs and the Date header need no better one than once a second."""
        self.now = now
        self.date = date
        self.ok_head = b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: " % date


class Line(Protocol):
    """The connection of an exchange, as the exchange sees it."""

    lost: bool

    def answered(self, exchange: "Exchange") -> None:
        """The reply is ready: send it when it is its turn."""

    def admitted(self, exchange: "Exchange") -> None:
        """The body may be read."""

    def turned_away(self, exchange: "Exchange") -> bool:
        """The reply comes, and what has not been read of the body never will be: True when that is anything."""

    def gives_way(self, exchange: "Exchange") -> bool:
        """Another connection brings the same body: True when this one has stalled, and has now been given up for it."""


class Exchange:
    """One request of a connection. Exactly one reply is put into ``out``.

    ``held``: the body may not be read yet, or not be handed on if it is here already. ``gone``: its connection has
    given it up, and no reply will be sent, though the connection may live on.
    """

    # What most exchanges never set.
    _body: bytes | None = None
    _has_room = False
    _inline = False
    _only_offered = False
    _platform = ""
    close = False
    cors: tuple[Header, ...] = ()
    gone = False
    head_only = False
    held = False
    reserved = 0
    tail = b""
    upload: tuple[str, str] | None = None
    expect: Expect | None = None
    out: bytes | Buffers | None = None

    def __init__(self, line: Line, site: Site, kind: str = OTHER) -> None:
        """``kind`` is what it is counted as."""
        self._line = line
        self._site = site
        self._kind = kind
        self._asked_at = perf_counter()

    # --- before the body ---

    def begin(self, expect: Expect, num_bytes: int) -> None:
        """Read a body of at most ``num_bytes``, once the job wants it and there is room for it."""
        self.expect = expect
        self._platform = expect.device.platform
        if expect.result is None:
            return
        self.reserved = num_bytes
        if expect.offer is not None:
            self.held = True
            self._site.dispatcher.submit(expect.offer, self._offered)
        else:
            self._reserve()

    def take(self, expect: Expect, body: bytes) -> None:
        """Go on with a request whose body came with its head, once there is room for it.

        Room is taken only by one that must wait: any other is in the dispatcher's hands before the next begins.
        """
        num_bytes = len(body)
        if expect.result is None or not self._site.dispatcher.room.fits(expect.room_of, num_bytes):
            self.begin(expect, num_bytes)
        else:
            self.expect = expect
            self._platform = expect.device.platform
            self._has_room = num_bytes > 0
        self.run(body)

    def _offered(self, response: EdgeResponse) -> None:
        line = self._line
        if line.lost or self.gone or self.out is not None:
            return
        if send_it(response):
            if self._begin_upload():
                self._reserve()
                return
            response = self._later(response, TWICE)
        self.held = False
        self.reserved = 0
        self.close = line.turned_away(self) or self.close
        self._put(response)
        line.answered(self)

    def _begin_upload(self) -> bool:
        """Let in one large body of a task at a time: a lease entitles to the room of one result.

        A device whose connection died in the middle does not wait for us to notice: its next one takes over.
        """
        assert self.expect is not None, "only an expected body is offered"
        assert self.expect.offer is not None, "only an answer to an offer asks for the body"
        upload = self.expect.offer.job_id, self.expect.offer.task_id
        other = self._site.uploads.get(upload)
        if other is not None and not other._line.gives_way(other):
            return False
        self._site.uploads[upload] = self
        self.upload = upload
        return True

    def _reserve(self) -> None:
        assert self.expect is not None, "only an expected body takes room"
        if self._site.dispatcher.room.reserve(self.expect.room_of, self.reserved, self._room_taken):
            if self.held:
                self._admit()
        else:
            self.held = True

    def _room_taken(self) -> None:
        if self._line.lost or self.gone or self.out is not None:
            self.held = False
            self.drop()
        else:
            self._admit()

    def _admit(self) -> None:
        self.held = False
        self._line.admitted(self)
        if self._body is not None:
            self.run(self._body)

    def drop(self) -> None:
        """Give back the room of a body that nobody needs any more, and let another of its task in."""
        if self.upload is not None:
            del self._site.uploads[self.upload]
            self.upload = None
        if self.reserved and not self.held:
            assert self.expect is not None, "only an expected body takes room"
            num_bytes, self.reserved = self.reserved, 0
            self._site.dispatcher.room.release(self.expect.room_of, num_bytes)

    def abandon(self) -> None:
        """Nobody waits for the reply any more; what still comes of the request comes to nothing."""
        self.gone = True
        self.drop()

    # --- with the body ---

    def run(self, body: bytes) -> None:
        """The whole body is here."""
        if self.held:
            self._body = body
            return
        assert self.expect is not None, "only an expected body is run"
        decision = self._site.core.body(self.expect, body)
        if type(decision) is Reply:
            self.reply(decision)
        elif type(decision) is Decode:
            self._site.decode(decision.payload, self._decoded)
        else:
            self._submit(decision)  # type: ignore[arg-type]

    def _submit(self, request: EdgeRequest) -> None:
        if type(request) is TaskRequest:
            self._inline = not takes_model_by_reference(request.accept)
        elif type(request) is ResultOffer:
            self._only_offered = True
        if self.reserved:
            self._site.dispatcher.submit(request, self._answer, True)
            self.drop()
        else:
            self._site.dispatcher.submit(request, self._answer, self._has_room)

    def _decoded(self, outcome: bytes | Reply) -> None:
        if self._line.lost or self.gone:
            self.drop()
            return
        assert self.expect is not None, "only an expected body is decoded"
        core = self._site.core
        decision = core.told(self.expect, outcome) if isinstance(outcome, Reply) else core.decoded(self.expect, outcome)
        if isinstance(decision, Reply):
            self.reply(decision)
        else:
            self._submit(decision)

    def _answer(self, response: EdgeResponse) -> None:
        line = self._line
        if line.lost or self.gone:
            return
        if self._inline and isinstance(response, TaskResponse) and response.task_data is not None:
            assert response.job_id is not None, "a task names its job"
            form, bytes_max = self._site.core.form_of(response.job_id), self._site.limits.weights_model_bytes_max
            if form.exported or response.task_data.bytes <= bytes_max:
                name = BlobName(response.job_id, response.task_data.sha256)
                self._site.weights.fetch(name, form, partial(self._with_weights, response, form))
                return
            message = NOT_AS_JSON.format(bytes=response.task_data.bytes, bytes_max=bytes_max)
            response = TaskResponse(Status.ERROR, response.job_id, message=message)
        if self._only_offered and send_it(response):
            response = self._later(response, STARTED)  # the job's schema came between the body and this answer
        self._put(response)
        line.answered(self)

    def _later(self, response: EdgeResponse, message: str) -> EdgeResponse:
        """Ask for the result later, though the job would take it now."""
        assert isinstance(response, ResultResponse), "only an answer to an offer asks for the body"
        wait_s = float(self._site.limits.retry_after_s)
        return msgspec.structs.replace(response, status=Status.RETRY, retry_wait=wait_s, message=message)

    def _with_weights(self, response: TaskResponse, form: Form, weights: bytes | Busy | None) -> None:
        if self._line.lost:
            return
        if weights is None or isinstance(weights, Busy):
            assert response.task_data is not None, "only a task has a model"
            response = TaskResponse(
                Status.RETRY,
                response.job_id,
                retry_wait=float(self._site.limits.retry_after_s),
                message=form.not_ready.format(version=response.task_data.meta.get("model_version"))
                if weights is None
                else TOO_MANY,
            )
            self._put(response)
        else:
            self._put_large(
                response.status, self._site.writer.encode_with_weights(response, self._platform, weights, form)
            )
        self._line.answered(self)

    # --- answers without a job ---

    def find_blob(self, wanted: BlobWanted) -> None:
        """Answer with a model."""
        self._site.blobs.fetch(wanted.name, partial(self._blob_found, wanted))

    def _blob_found(self, wanted: BlobWanted, blob: memoryview | Busy | None) -> None:
        if self._line.lost:
            return
        if blob is None:
            self.reply(refusal(404, "blob", "no such model: it was never there, or no task needs it any more"))
            return
        if isinstance(blob, Busy):
            self.reply(unavailable("busy", "too many models are being opened", self._site.limits.retry_after_s))
            return
        selected = select_blob(wanted, len(blob))
        if isinstance(selected, Reply):
            self.reply(selected)
            return
        self._count(str(selected.status))
        self._put_blob(selected, blob)
        self._line.answered(self)

    def _put_blob(self, selected: BlobReply, blob: memoryview) -> None:
        length = selected.stop - selected.start
        head = head_bytes(
            selected.status,
            selected.headers,
            length,
            date=self._site.date,
            connection=self._tail(),
            content_type=OCTETS,
        )
        self.out = head if self.head_only or not length else (head, blob[selected.start : selected.stop])

    def reply(self, reply: Reply) -> None:
        """Answer with this."""
        self.set_reply(reply)
        self._line.answered(self)

    def set_reply(self, reply: Reply) -> None:
        """Make this the answer, to be sent by whoever calls."""
        self._note(reply)
        head = head_bytes(reply.status, reply.headers, len(reply.body), date=self._site.date, connection=self._tail())
        self.out = head if self.head_only else head + reply.body

    def _note(self, reply: Reply) -> None:
        """This is the answer: what follows from it, whatever its bytes."""
        self.drop()
        refused = reply.refused
        if reply.reason:
            self._site.counters.refuse(reply.reason, "" if refused is None else refused.job_id)
        if refused is not None:
            self._site.dispatcher.refused(refused)
        self._count(str(reply.status))
        self.close = self.close or reply.close

    def _put(self, response: EdgeResponse) -> None:
        """A response in JSON with status 200."""
        site = self._site
        body = site.writer.encode(response, self._platform)
        site.counters.answer(self._kind, response.status, self._asked_at)
        size = len(body)
        if size < LENGTHS and not (self.close or self.tail or self.cors or site.draining):
            self.out = site.ok_head + LENGTH_LINES[size] + body
            return
        tail = self._tail()
        if size <= WRITE_BYTES:
            self.out = b"%b%d\r\n%b\r\n%b" % (site.ok_head, size, tail, body)
        else:
            self.out = (b"%b%d\r\n%b\r\n" % (site.ok_head, size, tail), body)

    def _put_large(self, status: Status, body: Buffers) -> None:
        """The same, for a response whose JSON is in parts."""
        self._count(status)
        head = b"%b%d\r\n%b\r\n" % (self._site.ok_head, sum(map(len, body)), self._tail())
        self.out = (head, *body)

    def _count(self, status: str) -> None:
        self._site.counters.answer(self._kind, status, self._asked_at)

    def _tail(self) -> bytes:
        """The headers that say what becomes of the connection, and which page may read the reply."""
        if self._site.draining:
            self.close = True
        tail = CLOSE if self.close else self.tail
        return tail + header_lines(self.cors) if self.cors else tail
