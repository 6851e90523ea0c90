"""One call and its outcome, from the end of its head on: whatever the protocol, it takes this way. Pure."""

from functools import partial
from typing import Protocol

import msgspec

from turnout.blobs.base import BlobName, Busy
from turnout.gateway.calls import Answer, Call, Kind, Model, Outcome, Refusal, busy
from turnout.gateway.core import Decode, send_it
from turnout.gateway.counters import OTHER
from turnout.gateway.site import Site
from turnout.messages import (
    EdgeRequest,
    EdgeResponse,
    ResultOffer,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
)
from turnout.wire.edge_replies import SAFETENSORS_FORMAT
from turnout.wire.forms import Form

TOO_MANY = "too many models are being read; ask again later"
STARTED = "the job has just started; send it again"
TWICE = "this result is being sent on another connection already; send it again later"
NOT_AS_JSON = (
    "the model has {bytes} bytes, and at most {bytes_max} are sent as JSON: ask by HTTP with "
    '"accept": ["safetensors"] in the task request, or raise --weights-model-bytes-max of the server'
)


class Line(Protocol):
    """The way back to who asks, as an exchange sees it: a connection, or a call of a protocol that has these."""

    lost: bool

    def answered(self, exchange: "Exchange") -> None:
        """The outcome is there: send it when it is its turn."""

    def admitted(self, exchange: "Exchange") -> None:
        """The body may be read."""

    def skips_body(self, exchange: "Exchange") -> None:
        """The outcome comes, and what has not been read of the body never will be."""

    def gives_way(self, exchange: "Exchange") -> bool:
        """Another connection brings the same body: True when this one has stalled, and has now been given up for it."""


class Exchange:
    """One call. Exactly one ``outcome`` comes.

    ``waiting``: the body may not be read yet, or not be handed on if it is here already. ``gone``: nobody waits for the
    outcome any more, and none will be sent, though the connection may live on.
    """

    # What most exchanges never set.
    _body: bytes | None = None
    _has_room = False
    _inline = False
    _only_offered = False
    call: Call | None = None
    gone = False
    outcome: Outcome | None = None
    reserved = 0
    upload: tuple[str, str] | None = None
    waiting = False

    def __init__(self, line: Line, site: Site, kind: str = OTHER) -> None:
        """``kind`` is what it is counted as."""
        self._line = line
        self._site = site
        self.kind = kind
        self.asked_at = site.counters.clock()

    @property
    def platform(self) -> str:
        """Of the device that asks, if that is known."""
        return "" if self.call is None else self.call.device.platform

    # --- before the body ---

    def begin(self, call: Call, num_bytes: int) -> None:
        """Read a body of at most ``num_bytes``, once the job wants it and there is room for it."""
        self.call = call
        if call.result is None:
            return
        self.reserved = num_bytes
        if call.offer is not None:
            self.waiting = True
            self._site.dispatcher.submit(call.offer, self._offered)
        else:
            self._reserve()

    def take(self, call: Call, body: bytes) -> None:
        """A call whose body came with its head.

        Room is reserved only by one that must wait: any other is in the dispatcher's hands before the next begins.
        """
        if call.result is not None:
            if call.offer is not None or not self._site.dispatcher.room.fits(call.room_of, len(body)):
                self.begin(call, len(body))
                if self.outcome is None:  # else the job has said at once that it does not want it
                    self.run(body)
                return
            self._has_room = True
        self.call = call
        self._pass_on(self._site.core.body(call, body))

    def _offered(self, response: EdgeResponse) -> None:
        line = self._line
        if line.lost or self.gone or self.outcome is not None:
            return
        if send_it(response):
            if self._begin_upload():
                self._reserve()
                return
            response = self._later(response, TWICE)
        self.waiting = False
        self.reserved = 0
        line.skips_body(self)
        self.outcome = Answer(response)
        line.answered(self)

    def _begin_upload(self) -> bool:
        """Admit one large body of a task at a time: a lease entitles to the room of one result.

        A device whose connection died in the middle does not wait for us to notice: its next one takes over.
        """
        assert self.call is not None, "only the body of a call is offered"
        assert self.call.offer is not None, "only an answer to an offer asks for the body"
        upload = self.call.offer.job_id, self.call.offer.task_id
        other = self._site.uploads.get(upload)
        if other is not None and not other._line.gives_way(other):
            return False
        self._site.uploads[upload] = self
        self.upload = upload
        return True

    def _reserve(self) -> None:
        assert self.call is not None, "only the body of a call takes room"
        if self._site.dispatcher.room.reserve(self.call.room_of, self.reserved, self._room_reserved):
            if self.waiting:
                self._admit()
        else:
            self.waiting = True

    def _room_reserved(self) -> None:
        if self._line.lost or self.gone or self.outcome is not None:
            self.waiting = False
            self.drop()
        else:
            self._admit()

    def _admit(self) -> None:
        self.waiting = False
        self._line.admitted(self)
        body, self._body = self._body, None
        if body is not None:
            self.run(body)

    def drop(self) -> None:
        """Give back the room of a body that nobody needs any more, and let another of its task in."""
        self._body = None  # the queue for room still has us
        if self.upload is not None:
            del self._site.uploads[self.upload]
            self.upload = None
        if self.reserved and not self.waiting:
            assert self.call is not None, "only the body of a call takes room"
            num_bytes, self.reserved = self.reserved, 0
            self._site.dispatcher.room.release(self.call.room_of, num_bytes)

    def abandon(self) -> None:
        """Nobody waits for the outcome any more; what still comes of the request comes to nothing."""
        self.gone = True
        self.drop()

    # --- with the body ---

    def run(self, body: bytes) -> None:
        """The whole body is here."""
        if self.waiting:
            self._body = body
            return
        assert self.call is not None, "only the body of a call is run"
        self._pass_on(self._site.core.body(self.call, body))

    def _pass_on(self, decision: Refusal | EdgeRequest | Decode) -> None:
        """Do what the core has decided of the body."""
        kind = type(decision)
        if kind is TaskRequest:
            self._inline = SAFETENSORS_FORMAT not in decision.accept  # type: ignore[union-attr]
        elif kind is Refusal:
            self.refuse(decision)  # type: ignore[arg-type]
            return
        elif kind is Decode:
            self._site.decode(decision.payload, self._decoded)  # type: ignore[union-attr]
            return
        elif kind is ResultOffer:
            self._only_offered = True
        if self.reserved:
            self._site.dispatcher.submit(decision, self._answer, True)  # type: ignore[arg-type]
            self.drop()
        else:
            self._site.dispatcher.submit(decision, self._answer, self._has_room)  # type: ignore[arg-type]

    def _decoded(self, outcome: bytes | Refusal) -> None:
        if self._line.lost or self.gone:
            self.drop()
            return
        assert self.call is not None, "only the body of a call is decoded"
        core = self._site.core
        refused = isinstance(outcome, Refusal)
        self._pass_on(core.refuse(self.call, outcome) if refused else core.decoded(self.call, outcome))  # type: ignore[arg-type]

    def _answer(self, response: EdgeResponse) -> None:
        line = self._line
        if line.lost or self.gone:
            return
        if self._inline and type(response) is TaskResponse and response.task_data is not None:
            self._fetch_model(response)
            return
        if self._only_offered and send_it(response):
            response = self._later(response, STARTED)  # the job's schema came between the body and this answer
        self.outcome = Answer(response)
        line.answered(self)

    def _later(self, response: EdgeResponse, message: str) -> EdgeResponse:
        """Ask for the result later, though the job would take it now."""
        assert isinstance(response, ResultResponse), "only an answer to an offer asks for the body"
        wait_s = float(self._site.limits.retry_after_s)
        return msgspec.structs.replace(response, status=Status.RETRY, retry_wait=wait_s, message=message)

    # --- models ---

    def _fetch_model(self, response: TaskResponse) -> None:
        """Answer with the model inside the task."""
        assert response.job_id is not None, "a task names its job"
        assert response.task_data is not None, "only a task has a model"
        form, bytes_max = self._site.core.form_of(response.job_id), self._site.limits.weights_model_bytes_max
        if form.exported or response.task_data.bytes <= bytes_max:
            name = BlobName(response.job_id, response.task_data.sha256)
            self._site.weights.fetch(name, form, partial(self._with_model, response, form))
            return
        message = NOT_AS_JSON.format(bytes=response.task_data.bytes, bytes_max=bytes_max)
        self.settle(Answer(TaskResponse(Status.ERROR, response.job_id, message=message)))

    def _with_model(self, response: TaskResponse, form: Form, model: bytes | Busy | None) -> None:
        if isinstance(model, bytes):
            self.settle(Answer(response, model, form))
            return
        assert response.task_data is not None, "only a task has a model"
        not_ready = form.not_ready.format(version=response.task_data.meta.get("model_version"))
        message, wait_s = TOO_MANY if model else not_ready, float(self._site.limits.retry_after_s)
        self.settle(Answer(TaskResponse(Status.RETRY, response.job_id, retry_wait=wait_s, message=message)))

    def find_model(self, name: BlobName) -> None:
        """Answer with a model's file."""
        self._site.blobs.fetch(name, partial(self._model_found, name))

    def _model_found(self, name: BlobName, view: memoryview | Busy | None) -> None:
        if isinstance(view, memoryview):
            self.settle(Model(name, view))
        elif view is None:
            self.refuse(Refusal(Kind.UNKNOWN, "blob", "unknown or expired model"))
        else:
            self.refuse(busy("busy", "too many models are being opened", self._site.limits.retry_after_s))

    # --- outcomes without a job ---

    def refuse(self, refusal: Refusal) -> None:
        """Answer with this, and tell the job whose result it was."""
        self.drop()
        about = refusal.about
        self._site.counters.refuse(refusal.reason, "" if about is None else about.job_id)
        if about is not None:
            self._site.dispatcher.refused(about)
        self.settle(refusal)

    def settle(self, outcome: Outcome) -> None:
        """This is the outcome."""
        if not self._line.lost:
            self.outcome = outcome
            self._line.answered(self)
