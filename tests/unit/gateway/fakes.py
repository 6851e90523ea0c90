"""A dispatcher that answers as told, a device's end of a connection, and a gateway between them."""

from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from turnout.blobs.base import BlobName, Busy
from turnout.errors import DeviceError
from turnout.gateway import decode
from turnout.gateway.calls import Refusal, refused
from turnout.gateway.core import GatewayCore
from turnout.gateway.cors import NO_ORIGINS
from turnout.gateway.counters import Counters
from turnout.gateway.http1.protocol import End, Http1
from turnout.gateway.http1.reading import HttpReader
from turnout.gateway.http1.shared import Shared
from turnout.gateway.limits import GatewayLimits
from turnout.gateway.site import Site
from turnout.messages import (
    EdgeRequest,
    EdgeResponse,
    JobRequest,
    JobResponse,
    ModelRef,
    ModelSchema,
    RefusedResult,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    SelectionResponse,
    Status,
    TaskRequest,
    TaskResponse,
    TensorSpec,
)
from turnout.wire import tensors
from turnout.wire.forms import Form

SCHEMA = ModelSchema((TensorSpec("w", (8,)),))
BIG_SCHEMA = ModelSchema((TensorSpec("w", (20_000,)),))
NUMBER_SCHEMA = ModelSchema((TensorSpec("w", ()),), "number")
EXECUTORCH_SCHEMA = ModelSchema((TensorSpec("w", (2,)),), "executorch")
BIG_EXECUTORCH_SCHEMA = ModelSchema(BIG_SCHEMA.tensors, "executorch")
MODEL = tensors.to_safetensors(np.arange(8, dtype=np.float32), SCHEMA)
SHA = "ab" * 32

Answer = Callable[[EdgeResponse], None]


def schema_of(job_id: str) -> ModelSchema | None:
    by_job = {
        "small": SCHEMA,
        "big": BIG_SCHEMA,
        "number": NUMBER_SCHEMA,
        "executorch": EXECUTORCH_SCHEMA,
        "big-executorch": BIG_EXECUTORCH_SCHEMA,
    }
    return by_job.get(job_id)


def answer_to(request: EdgeRequest) -> EdgeResponse:
    """What a job that is content with everything says."""
    match request:
        case JobRequest():
            return JobResponse(Status.OK, "small", request.job_name, job_data={"config": {}})
        case TaskRequest():
            return TaskResponse(
                Status.OK, request.job_id, "t1", "train", ModelRef(SHA, len(MODEL), {"model_version": 1})
            )
        case SelectionRequest():
            return SelectionResponse(Status.OK, request.job_id, "t1", {"*": 1})
        case ResultOffer():
            return ResultResponse(Status.OK, False, request.task_id)
        case ResultReport():
            return ResultResponse(Status.OK, True, request.task_id, request.task_name)


class FakeRoom:
    """Room for so many bytes of results, whoever wants it; ``make`` gives it to the first that waits, full or not."""

    def __init__(self) -> None:
        self.bytes_max = 10**9
        self.reserved_by: Counter[str] = Counter()
        self.waiting: list[tuple[str, int, Callable[[], None]]] = []

    @property
    def reserved(self) -> int:
        return self.reserved_by.total()

    def fits(self, job_id: str, num_bytes: int) -> bool:
        return job_id not in (waits for waits, *_ in self.waiting) and self.reserved + num_bytes <= self.bytes_max

    def reserve(self, job_id: str, num_bytes: int, resume: Callable[[], None]) -> bool:
        if self.reserved + num_bytes <= self.bytes_max:
            self.reserved_by[job_id] += num_bytes
            return True
        self.waiting.append((job_id, num_bytes, resume))
        return False

    def make(self) -> None:
        job_id, num_bytes, resume = self.waiting.pop(0)
        self.reserved_by[job_id] += num_bytes
        resume()

    def release(self, job_id: str, num_bytes: int) -> None:
        self.reserved_by[job_id] -= num_bytes
        assert self.reserved_by[job_id] >= 0


class FakeDispatcher:
    """Answers at once, or when ``answer_next`` is called if ``hold`` is set."""

    def __init__(self, hold: bool = False) -> None:
        self.hold = hold
        self.answer_to = answer_to
        self.requests: list[EdgeRequest] = []
        self.when_asked: Callable[[], None] = lambda: None
        self.waiting: list[tuple[EdgeRequest, Answer]] = []
        self.room = FakeRoom()
        self.refusals: list[RefusedResult] = []

    def submit(self, request: EdgeRequest, answer: Answer, has_room: bool = False) -> None:
        assert has_room or not isinstance(request, ResultReport), "no result is read without room"
        self.requests.append(request)
        self.when_asked()
        if self.hold:
            self.waiting.append((request, answer))
        else:
            answer(self.answer_to(request))

    def answer_next(self, index: int = 0) -> None:
        request, answer = self.waiting.pop(index)
        answer(self.answer_to(request))

    def refused(self, result: RefusedResult) -> None:
        self.refusals.append(result)


class NoBlobs:
    """There is no model."""

    def fetch(self, name: BlobName, done: Callable[[memoryview | Busy | None], None]) -> None:
        done(None)


class FakeWeights:
    """Every model is this JSON."""

    def __init__(self, text: bytes | Busy | None) -> None:
        self._text = text

    def fetch(self, name: BlobName, form: Form, done: Callable[[bytes | Busy | None], None]) -> None:
        done(self._text)


class Gateway:
    """The connections of one gateway, without sockets and with a clock that is set by hand."""

    def __init__(
        self,
        dispatcher: FakeDispatcher | None = None,
        limits: GatewayLimits | None = None,
        weights: "FakeWeights | None" = None,
    ) -> None:
        self.dispatcher = dispatcher or FakeDispatcher()
        self.limits = limits or GatewayLimits()
        self.counters = Counters(0.0, perf_counter)
        core = GatewayCore(schema_of, self.limits)
        self.site = Site(
            core,
            self.dispatcher,  # type: ignore[arg-type]
            NoBlobs(),
            weights or FakeWeights(None),
            self._decode,
            self.counters,
            self.limits,
        )
        self.shared = Shared(self.site, HttpReader(core, lambda: b'{"status":"ok"}', NO_ORIGINS))
        self.shared.set_time(1000.0, b"Sun, 06 Nov 1994 08:49:37 GMT")
        self.wires: list[Wire] = []

    def _decode(self, payload: bytes, done: Callable[[bytes | Refusal], None]) -> None:
        try:
            done(decode.decode(memoryview(payload)))
        except DeviceError as error:
            done(refused(error))

    def connect(self) -> "Wire":
        self.wires.append(Wire(self))
        return self.wires[-1]

    def pass_time(self, seconds: float) -> None:
        """Sweep every second, as the server does."""
        end = self.site.now + seconds
        while self.site.now < end:
            self.shared.set_time(min(self.site.now + 1.0, end), self.shared.date)
            for wire in self.wires:
                wire.sweep(self.site.now)


class Answered(msgspec.Struct):
    """One reply, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found


class Wire:
    """A device's end of one connection, and all that a socket would do for ``Http1``."""

    def __init__(self, gateway: Gateway) -> None:
        self.http = Http1(gateway.shared, self.flush)
        self.written = bytearray()
        self.writes: list[int] = []
        self.takes_nothing = False  #: The device takes no more after each write, until ``take``.
        self.unsent = 0
        self.eof = self.closed = self.aborted = False

    @property
    def reading(self) -> bool:
        return not self.http.paused

    def flush(self) -> None:
        self.http.moved = False
        while not self.closed and (piece := self.http.data_to_send()) is not None:
            assert not self.eof, "nothing is written after the end"
            self.written += piece
            self.writes.append(len(piece))
            if self.takes_nothing:
                self.http.pause_writing(self.unsent)
        self.eof = self.eof or self.http.end is End.LINGER
        self.closed = self.http.end in (End.CLOSE, End.ABORT)
        self.aborted = self.http.end is End.ABORT

    def send(self, *pieces: bytes) -> "Wire":
        for piece in pieces:
            self.http.receive_data(piece)
            self._follow()
        return self

    def send_eof(self) -> bool:
        stays = self.http.receive_eof()
        self.flush()
        return stays

    def stop_taking(self, unsent: int = 0) -> None:
        self.unsent = unsent
        self.http.pause_writing(unsent)

    def take(self) -> None:
        self.http.resume_writing()
        self.flush()

    def sweep(self, now: float) -> None:
        if not self.http.lost:
            self.http.sweep(now, self.unsent)
            self._follow()

    def drain(self) -> None:
        self.http.drain()
        self.flush()

    def lose(self) -> None:
        self.http.lose()

    def replies(self) -> list[Answered]:
        """All complete replies so far."""
        return split_replies(bytes(self.written))

    def only_reply(self) -> Answered:
        (reply,) = self.replies()
        return reply

    def _follow(self) -> None:
        if self.http.moved:
            self.flush()


def split_replies(data: bytes) -> list[Answered]:
    """Replies with Content-Length, one after the other."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", 0))
        found.append(Answered(int(first.split(" ")[1]), headers, data[:length]))
        data = data[length:]
    return found


def http(
    target: str,
    body: bytes = b"{}",
    *,
    method: str = "POST",
    version: str = "HTTP/1.1",
    drop: tuple[str, ...] = (),
    **headers: str,
) -> bytes:
    """A request as a device sends it; header names with ``_`` for ``-``; ``drop`` names those to leave out."""
    named = {
        "Host": "gateway",
        "X-Flare-Device-ID": "d1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if name not in drop)
    return f"{method} {target} {version}\r\n{lines}\r\n".encode() + body


def get(target: str, method: str = "GET", **headers: str) -> bytes:
    return http(target, b"", method=method, drop=("Content-Length", "Content-Type", "X-Flare-Device-ID"), **headers)


TASK = http("/task?job_id=small", b'{"accept": ["safetensors"]}')
JOB = http("/job", b'{"job_name": "mnist", "capabilities": {"methods": []}}')


def result(update: bytes, job_id: str = "small", **headers: str) -> bytes:
    """A result as raw safetensors."""
    target = f"/result?job_id={job_id}&task_id=t1&task_name=train&num_examples=3"
    return http(target, update, Content_Type="application/vnd.safetensors", **headers)


def update_of(schema: ModelSchema) -> bytes:
    return tensors.to_safetensors(np.ones(tensors.num_parameters(schema), np.float32), schema)
