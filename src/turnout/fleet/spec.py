"""What a simulated fleet is like, and what that makes of each of its devices. Pure.

Every trait is drawn from the seed, the device's number and what is drawn, never from what happened before: two runs
differ only where the server differs.
"""

import hashlib
import math
import struct
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from pathlib import Path
from statistics import NormalDist

from turnout.errors import UsageError

DEVICES_MAX = 10_000_000
STARTS_PER_S = 5_000.0
BREAKS_WITHIN_S = 0.1  #: A connection that breaks before the answer does so in this time.
_NORMAL = NormalDist()
_KEY = struct.Struct("<qqqq")
_HASH = struct.Struct("<Q")


class Break(Enum):
    """When a connection breaks."""

    BEFORE_ANSWER = auto()
    AFTER_ANSWER = auto()


class BadFleet(UsageError):
    """A FleetSpec that describes no fleet."""


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """How many devices there are, and how they differ. Times are wall time."""

    devices: int
    seed: int = 0
    training_s: float = 1.0  #: Time the median device takes for a task; no device is faster than its real training.
    training_sigma: float = 0.0  #: Spread of that time over devices, log-normal: 1 makes 5 % five times slower.
    delay_s: float = 0.0  #: Time the median device's network adds to each request.
    delay_sigma: float = 0.0  #: Spread of that over devices, log-normal.
    availability: float = 1.0  #: Share of the time in which a device has network, above 0 and up to 1.
    online_s: float = 60.0  #: Mean time a device stays online, where ``availability`` is below 1.
    dropout: float = 0.0  #: Probability that a device vanishes from a task without a word, from 0 to below 1.
    recovery_s: float = 10.0  #: Mean time until it is back.
    start_s: float | None = None  #: Devices arrive spread over this time; by default 5,000 a second.
    at_once: int | None = None  #: How many take part at a time: the next arrives when one has ended.
    duplicates: float = 0.0  #: Share of results that are sent twice at once, over two connections.
    drops_before_answer: float = 0.0  #: Share of requests whose connection breaks before the answer is read.
    drops_after_answer: float = 0.0  #: Share of requests whose connection breaks once the answer was read.
    ledger: Path | None = None  #: A file that gets a line of JSON for every result sent and every answer.
    each_once: bool = False  #: A device ends when one result of it has been counted.
    id_prefix: str = "sim-"
    platform: str = "sim"

    def __post_init__(self) -> None:
        checks = {
            f"devices is {self.devices}; 1 to {DEVICES_MAX} are allowed": 1 <= self.devices <= DEVICES_MAX,
            f"availability is {self.availability}; above 0 and up to 1 is allowed": 0 < self.availability <= 1,
            f"dropout is {self.dropout}; 0 to below 1 is allowed": 0 <= self.dropout < 1,
            f"online_s is {self.online_s}; above 0 is allowed": 0 < self.online_s < math.inf,
            f"at_once is {self.at_once}; a number from 1 is allowed": self.at_once is None or self.at_once >= 1,
            "at_once is for a fleet with each_once, whose devices end": self.at_once is None or self.each_once,
        }
        for name in ("training_s", "training_sigma", "delay_s", "delay_sigma", "recovery_s", "start_s"):
            value = getattr(self, name)
            checks[f"{name} is {value}; a number from 0 is allowed"] = value is None or 0 <= value < math.inf
        for name in ("duplicates", "drops_before_answer", "drops_after_answer"):
            value = getattr(self, name)
            checks[f"{name} is {value}; 0 to 1 is allowed"] = 0 <= value <= 1
        for text, holds in checks.items():
            if not holds:
                raise BadFleet(text)

    def device_id(self, index: int) -> str:
        """Such as sim-000123."""
        return f"{self.id_prefix}{index:06d}"

    def starts_at(self, index: int) -> float:
        """When a device first asks, counted from the fleet's start: in the order of their numbers.

        Each comes at a random moment of its own share of the time, so nobody must know when the others do.
        """
        spread = self.devices / STARTS_PER_S if self.start_s is None else self.start_s
        return spread * (index + self._draw(index, _What.START)) / self.devices if spread else 0.0

    def training_time_s(self, index: int) -> float:
        """How long a device takes for each task."""
        return self._log_normal(index, _What.TRAINING, self.training_s, self.training_sigma)

    def delay_time_s(self, index: int) -> float:
        """What a device's network adds to each request."""
        return self._log_normal(index, _What.DELAY, self.delay_s, self.delay_sigma)

    def drops(self, index: int, task: int) -> bool:
        """Does this device vanish from its ``task``-th task?"""
        return self.dropout > 0 and self._draw(index, _What.DROPOUT, task) < self.dropout

    def away_s(self, index: int, task: int) -> float:
        """How long a device is away after it vanished: somewhere in its training, then its recovery."""
        part = self._draw(index, _What.VANISHES, task) * self.training_time_s(index)
        return part + self._exponential(index, _What.RECOVERY, task, self.recovery_s)

    def is_sent_twice(self, index: int, sent: int) -> bool:
        """Is a device's ``sent``-th request sent twice, if it is a result?"""
        return self.duplicates > 0 and self._draw(index, _What.TWICE, sent) < self.duplicates

    def breaks(self, index: int, sent: int) -> "Break | None":
        """When the connection of a device's ``sent``-th request breaks; None when it does not."""
        if self.drops_before_answer > 0 and self._draw(index, _What.BEFORE, sent) < self.drops_before_answer:
            return Break.BEFORE_ANSWER
        if self.drops_after_answer > 0 and self._draw(index, _What.AFTER, sent) < self.drops_after_answer:
            return Break.AFTER_ANSWER
        return None

    def breaks_after_s(self, index: int, sent: int) -> float:
        """How long such a connection lasts after the request was sent, if the answer does not come sooner."""
        return BREAKS_WITHIN_S * self._draw(index, _What.BREAKS, sent)

    def is_first_online(self, index: int) -> bool:
        """Is a device online when it starts?"""
        return self.availability == 1.0 or self._draw(index, _What.FIRST_PHASE) < self.availability

    def phase_s(self, index: int, phase: int, online: bool) -> float:
        """How long a device's ``phase``-th time online or offline lasts."""
        if self.availability == 1.0:
            return math.inf
        mean_s = self.online_s if online else self.online_s * (1 / self.availability - 1)
        return self._exponential(index, _What.PHASE, phase, mean_s)

    def _draw(self, index: int, what: "_What", count: int = 0) -> float:
        """Uniform in (0, 1)."""
        digest = hashlib.blake2b(_KEY.pack(self.seed, index, what, count), digest_size=8).digest()
        bits: int = _HASH.unpack(digest)[0] >> 12
        return bits / 2**52 + 2**-53

    def _log_normal(self, index: int, what: "_What", median: float, sigma: float) -> float:
        return median * math.exp(sigma * _NORMAL.inv_cdf(self._draw(index, what))) if sigma else median

    def _exponential(self, index: int, what: "_What", count: int, mean: float) -> float:
        return -mean * math.log(self._draw(index, what, count))


class _What(IntEnum):
    """What is drawn; the numbers are part of what a seed means."""

    START = 0
    TRAINING = 1
    DELAY = 2
    DROPOUT = 3
    VANISHES = 4
    RECOVERY = 5
    FIRST_PHASE = 6
    PHASE = 7
    TWICE = 8
    BEFORE = 9
    AFTER = 10
    BREAKS = 11
