"""What a gateway is asked and what it answers, as values, which each protocol reads and renders in its way. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

import msgspec

from turnout.blobs.base import BlobName
from turnout.errors import DeviceError
from turnout.gateway.routes import Route
from turnout.messages import DeviceInfo, EdgeResponse, RefusedResult, ResultOffer, ResultResponse, UserInfo
from turnout.wire.edge_results import ResultQuery
from turnout.wire.forms import Form


class Call(msgspec.Struct, frozen=True, eq=False):
    """A request whose body is to be read, and who sends it. ``offer``, if any, must be taken by the job first.

    ``room_of`` is the job whose room a result takes, "" while there is no such job. ``inline``: the model goes
    into the answer, whatever the device takes.
    """

    route: Route
    device: DeviceInfo
    user: UserInfo
    query: Mapping[str, str]
    limit_bytes: int
    binary: bool = False
    room_of: str = ""
    result: ResultQuery | None = None
    offer: ResultOffer | None = None
    inline: bool = False

    @property
    def is_ordinary(self) -> bool:
        """Whether others like it will come: its body is small, and of a size that many have."""
        return self.result is None or (self.binary and self.offer is None)


class Kind(StrEnum):
    """Why a call is refused. Each protocol has a table of these."""

    INVALID = "invalid"  #: It is wrong, and would be again.
    UNKNOWN = "unknown"  #: It asks for something that is not here.
    TOO_LARGE = "too large"
    BUSY = "busy"  #: Nothing is wrong with it but its moment.


class Refusal(msgspec.Struct, frozen=True):
    """A call that no job answers: ``text`` says what is wrong and how to fix it.

    ``reason`` is the label under which it is counted, and ``wait_s`` after how long the same may be asked again.
    ``about`` is for the job whose result is refused; ``instead`` is what a device is told whose SDK would give up on a
    refusal.
    """

    kind: Kind
    reason: str
    text: str
    wait_s: int | None = None
    about: RefusedResult | None = None
    instead: ResultResponse | None = None


class Answer(msgspec.Struct, frozen=True):
    """What the job says, or the dispatcher in its place; and a model to be sent inside, as JSON of this form."""

    response: EdgeResponse
    model: bytes | None = None
    form: Form | None = None


class Model(msgspec.Struct, frozen=True):
    """A model's file."""

    name: BlobName
    view: memoryview


class Notice(msgspec.Struct, frozen=True):
    """What a gateway says of itself, as JSON."""

    body: bytes


Outcome: TypeAlias = Answer | Refusal | Model | Notice


def refused(error: DeviceError) -> Refusal:
    """A device's mistake as its answer."""
    return Refusal(Kind.INVALID, error.reason, str(error))


def busy(reason: str, text: str, wait_s: int) -> Refusal:
    """Nothing is wrong with the call but its moment."""
    return Refusal(Kind.BUSY, reason, text, wait_s)


def no_room(wait_s: int) -> Refusal:
    """A result that has waited long enough to be admitted."""
    return busy("no_room", "the server holds too many results; send it again later", wait_s)
