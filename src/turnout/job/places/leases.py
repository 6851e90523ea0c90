"""What a task is: a lease that one device holds, sealed so that only this job can have written it.

``task_id`` on the wire is the sealed lease. Every FLARE client echoes it in its result, so every client has leases
without knowing. Nothing is kept per task once its place is free: the seal itself says what was promised to whom.
"""

import hmac
import struct
from binascii import a2b_base64, b2a_base64
from collections import deque
from collections.abc import Iterable
from hashlib import sha256
from heapq import heapify, heappop, heappush

import msgspec

from turnout.job.places.rows import Row, Table

DEVICE_HASH_BYTES = 16
SEAL_BYTES = 16  #: HMAC-SHA256 cut to 128 bits (RFC 2104 section 5 allows half of the hash): forging costs 2^127 tries.
TRAIN_FORMAT, VALIDATE_FORMAT = FORMATS = 1, 2  #: Of a sealed lease.
HEAP_SLACK = 64  #: The heap of expiries is made anew when more than half of it, and this many, are of ended leases.

_LAYOUT = struct.Struct(">B8sIQ16sddd")
_SEALED_BYTES = _LAYOUT.size + SEAL_BYTES
TASK_ID_CHARS = _SEALED_BYTES * 4 // 3 + 1  #: No text of another length holds exactly this many bytes.
_PADDING = "=" * (-TASK_ID_CHARS % 4)
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def device_hash(device_id: str) -> bytes:
    """What a job remembers of a device: enough to tell devices apart, too little to name one."""
    return sha256(device_id.encode()).digest()[:DEVICE_HASH_BYTES]


def lot(device: bytes, version: int) -> float:
    """A number from 0 to below 1, as good as random, that a device cannot draw twice for one version."""
    return int.from_bytes(sha256(device + version.to_bytes(8)).digest()[:8]) / 2**64


class Lease(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The right of one device to do one task. Times are job time, in seconds.

    Stored without the names of its fields: thousands are in each commit, and names are half of their bytes.
    """

    version: int  #: The model version to train from.
    task: int  #: Counts up per job, never reused: the idempotency key of the result.
    device: bytes  #: ``device_hash`` of its holder.
    weight_max: float  #: The most that its result may weigh.
    granted_at: float
    expires_at: float  #: When the place is freed. The right to report outlives it.
    validate: bool = False  #: Measure the model only. Earlier releases had no such tasks, and wrote no such field.
    group: tuple[str, str] | None = None  #: Platform and app version, for people, where known; not in the seal.


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Lease).decode


def _value(row: Row) -> Lease:
    _, lease = row
    return _decode(msgspec.convert(lease, bytes))


LEASES: Table[int, Lease] = Table(
    "lease", ("task", "lease"), lambda leases: [(task, _encode(lease)) for task, lease in leases.items()], _value
)


class Seal:
    """Turns leases into task ids and back, under a key that only this job has."""

    def __init__(self, job_id: str, key: bytes) -> None:
        self._hmac = hmac.new(key, digestmod="sha256")  # copied for every lease, so that the key is read once
        self._job = sha256(job_id.encode()).digest()[:8]

    def close(self, lease: Lease) -> str:
        """The task id of ``lease``; the same lease always gives the same text."""
        body = _LAYOUT.pack(
            VALIDATE_FORMAT if lease.validate else TRAIN_FORMAT,
            self._job,
            lease.version,
            lease.task,
            lease.device,
            lease.weight_max,
            lease.granted_at,
            lease.expires_at,
        )
        return _spelled(body + self._sign(body))

    def open(self, task_id: str) -> Lease | None:
        """The lease that this job sealed into ``task_id``; None for anything else, another spelling of it included."""
        if len(task_id) != TASK_ID_CHARS:
            return None
        try:
            sealed = a2b_base64(task_id.replace("-", "+").replace("_", "/") + _PADDING)
        except ValueError:  # no Base64, or not even ASCII
            return None
        body, signature = sealed[:-SEAL_BYTES], sealed[-SEAL_BYTES:]
        if len(sealed) != _SEALED_BYTES or not hmac.compare_digest(signature, self._sign(body)):
            return None
        if _spelled(sealed) != task_id:  # Base64 has several texts for the same bytes
            return None
        form, job, version, task, device, weight_max, granted_at, expires_at = _LAYOUT.unpack(body)
        if form not in FORMATS or job != self._job:
            return None
        return Lease(version, task, device, weight_max, granted_at, expires_at, form == VALIDATE_FORMAT)

    def _sign(self, body: bytes) -> bytes:
        signing = self._hmac.copy()
        signing.update(body)
        return signing.digest()[:SEAL_BYTES]


def _spelled(sealed: bytes) -> str:
    """The one text of a sealed lease: Base64 for URLs, without padding (RFC 4648 section 5)."""
    return b2a_base64(sealed, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()


class LiveLeases:
    """The places in use: at most one live lease a device, found by device, ended by result or by expiry.

    ``come`` and ``gone`` are by task, since they were last taken to be written.
    """

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self._by_device: dict[bytes, Lease] = {}
        self._of_version: dict[int, int] = {}  # how many; none that has none
        self.come: dict[int, Lease] = {}
        self.gone: set[int] = set()
        self._expiry: list[tuple[float, int, bytes]] = []  # a heap; entries of ended leases are dropped when met
        for lease in leases:
            self.add(lease)

    def __len__(self) -> int:
        return len(self._by_device)

    def all(self) -> tuple[Lease, ...]:
        return tuple(self._by_device.values())

    def by_task(self) -> dict[int, Lease]:
        return {lease.task: lease for lease in self._by_device.values()}

    def oldest(self) -> Lease | None:
        """The one that was granted first."""
        return next(iter(self._by_device.values()), None)

    def of(self, device: bytes) -> Lease | None:
        return self._by_device.get(device)

    def on(self, version: int) -> int:
        """How many live leases train from ``version``."""
        return self._of_version.get(version, 0)

    def next_expiry(self) -> float | None:
        """No live lease ends before this; it may be early, for an ended lease."""
        return self._expiry[0][0] if self._expiry else None

    def add(self, lease: Lease) -> None:
        assert lease.device not in self._by_device, "one live lease a device"
        self._by_device[lease.device] = lease
        self.come[lease.task] = lease
        self.gone.discard(lease.task)
        self._of_version[lease.version] = self._of_version.get(lease.version, 0) + 1
        heappush(self._expiry, (lease.expires_at, lease.task, lease.device))
        if len(self._expiry) > 2 * len(self._by_device) + HEAP_SLACK:
            self._expiry = [(each.expires_at, each.task, each.device) for each in self._by_device.values()]
            heapify(self._expiry)

    def end(self, device: bytes, task: int) -> bool:
        """Free the place of ``task`` if it still has one."""
        lease = self._by_device.get(device)
        if lease is None or lease.task != task:
            return False
        del self._by_device[device]
        self.come.pop(task, None)
        self.gone.add(task)
        left = self._of_version[lease.version] - 1
        if left:
            self._of_version[lease.version] = left
        else:
            del self._of_version[lease.version]
        return True

    def end_older(self, version_min: int) -> int:
        """Free the places of all leases on versions below ``version_min``; returns how many there were."""
        if all(version >= version_min for version in self._of_version):
            return 0
        old = [lease for lease in self._by_device.values() if lease.version < version_min]
        for lease in old:
            self.end(lease.device, lease.task)
        return len(old)

    def expire(self, now: float) -> list[Lease]:
        """Free the places whose time is over; returns their leases."""
        expired = []
        while self._expiry and self._expiry[0][0] <= now:
            _, task, device = heappop(self._expiry)
            lease = self._by_device.get(device)
            if lease is not None and lease.task == task and lease.expires_at <= now and self.end(device, task):
                expired.append(lease)
        return expired


class LeaseTime:
    """How long a new lease lasts: four times the running p90 of observed durations, so nobody tunes timeouts.

    Durations of late results count too, otherwise a lease time that is too short would never be noticed. Devices that
    answer late on purpose must not set it for all: it is at most eight times the median, a duration counts as at most
    twice the lease, and it changes by at most a factor of two at once, up or down.
    """

    MULTIPLE = 4.0
    MEDIANS_MAX = 8.0  #: At most this many medians: fewer than half of the devices cannot raise it beyond that.
    LATE_MAX = 2.0  #: A duration counts as at most this many leases.
    STEP_MAX = 2.0  #: A refresh multiplies or divides it by at most this.
    WINDOW = 256  #: Durations remembered; enough for a p90 within a few percent.
    REFRESH = 32  #: Sort again after this many new ones.
    ENOUGH = 20  #: Fewer observations than this say too little: the first lease time holds.

    def __init__(self, first_s: float, min_s: float, max_s: float) -> None:
        self._first, self._min, self.max_s = first_s, min_s, max_s
        self.restore(())

    def durations(self) -> tuple[float, ...]:
        return tuple(self._durations)

    def restore(self, durations: Iterable[float]) -> None:
        self._durations = deque(durations, maxlen=self.WINDOW)
        self._fresh = 0
        self.lease_s = self._estimate()

    def observe(self, duration_s: float) -> None:
        self._durations.append(min(max(duration_s, 0.0), self.LATE_MAX * self.lease_s))
        self._fresh += 1
        if self._fresh >= self.REFRESH or len(self._durations) == self.ENOUGH:
            self._fresh = 0
            self.lease_s = min(max(self._estimate(), self.lease_s / self.STEP_MAX), self.lease_s * self.STEP_MAX)

    def _estimate(self) -> float:
        if len(self._durations) < self.ENOUGH:
            return self._first
        ordered = sorted(self._durations)
        p90, median = (ordered[int(share * (len(ordered) - 1))] for share in (0.9, 0.5))
        return min(max(min(self.MULTIPLE * p90, self.MEDIANS_MAX * median), self._min), self.max_s)
