"""What devices, gateways and jobs say to each other: frozen values, no behaviour.

The eight edge messages carry the words of the FLARE edge protocol; they become bytes only in ``wire/``.
Times are in seconds everywhere here: ``retry_wait`` turns into a device's own unit when a reply is encoded.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec


class Status(StrEnum):
    """How a request ended, in the words every FLARE client knows."""

    OK = "OK"
    RETRY = "RETRY"
    DONE = "DONE"
    ERROR = "ERROR"
    NO_JOB = "NO_JOB"
    NO_TASK = "NO_TASK"
    INVALID_REQUEST = "INVALID_REQUEST"


OK: Final = Status.OK  #: For hot paths: to look up a member of an enum takes 0.2 µs in Python 3.11.
VALIDATE = "validate"  #: The name of a task to measure the model only; given to devices that list it in ``accept``.
VALIDATED = "VALIDATED"  #: The status of its result: metrics and ``num_examples``, and no update.
NO_EXAMPLES = "NO_EXAMPLES"  #: A result's status: the device has nothing to do its task with, and nothing failed.


EXAMPLES_MIN, EXAMPLES_MAX = 1.0, 1e12  #: Of a result: what a device can have learned or measured from.


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of every message: immutable, and silent about fields that hold their default."""


# --- who asks -----------------------------------------------------------------------------------------------------


class DeviceInfo(Message, frozen=True):
    """What a device says of itself. Only ``device_id`` is required; nothing here is proven."""

    device_id: str
    app_name: str = ""
    app_version: str = ""
    platform: str = ""
    platform_version: str = ""
    extra: dict[str, str] = {}


class UserInfo(Message, frozen=True):
    """Who uses the device. Carried, never trusted."""

    user_id: str = ""
    user_name: str = ""
    access_token: str = ""
    auth_token: str = ""
    auth_session: str = ""
    extra: dict[str, str] = {}


NOBODY = UserInfo()


# --- the model ----------------------------------------------------------------------------------------------------


class TensorSpec(Message, frozen=True):
    """One named float32 tensor of a model."""

    name: str
    shape: tuple[int, ...]


class ModelSchema(Message, frozen=True, cache_hash=True):
    """The tensors of a model in the order in which they lie in its flat float32 vector.

    ``form`` is what the job's devices speak that take no safetensors: "weights", "number" or "executorch".
    """

    tensors: tuple[TensorSpec, ...]
    form: str = "weights"


class ModelRef(Message, frozen=True):
    """A model named, not sent: ``sha256`` of the immutable blob and what a device shall do with it.

    ``meta`` is handed to the device's trainer: ``model_version`` and the job's ``[device]`` settings.
    """

    sha256: str
    bytes: int
    meta: dict[str, Any]


# --- the eight edge messages --------------------------------------------------------------------------------------


class JobRequest(Message, frozen=True):
    """A device looks for a job by name. ``capabilities`` matter only to a job that declares an eligibility."""

    device: DeviceInfo
    job_name: str
    capabilities: dict[str, Any] = {}
    user: UserInfo = NOBODY


class JobResponse(Message, frozen=True):
    """``job_data`` is ``{"config": the device config of the platform or None}`` when ``status`` is OK."""

    status: Status
    job_id: str | None = None
    job_name: str | None = None
    job_data: dict[str, Any] | None = None
    retry_wait: float | None = None
    message: str | None = None


class TaskRequest(Message, frozen=True):
    """A device asks for work. ``accept`` names the model formats that it takes by reference ("safetensors").

    With "validate" in it the device can also measure a model without training it.
    """

    device: DeviceInfo
    job_id: str
    cookie: dict[str, Any] | None = None
    accept: tuple[str, ...] = ()
    user: UserInfo = NOBODY


class TaskResponse(Message, frozen=True):
    """``task_id`` is the lease; ``lease_s`` is how long the place is kept for this device, from now."""

    status: Status
    job_id: str | None = None
    task_id: str | None = None
    task_name: str | None = None
    task_data: ModelRef | None = None
    cookie: dict[str, Any] | None = None
    lease_s: float | None = None
    retry_wait: float | None = None
    message: str | None = None


class FleetRange(Message, frozen=True):
    """The devices ``prefix#0`` to ``prefix#(devices - 1)``, for which one simulator speaks. Never expanded here."""

    prefix: str
    devices: int


class SelectionRequest(Message, frozen=True):
    """Asked by fleet simulators: who is selected now?

    ``fleet`` is there when the asker's id is ``prefix?N``; ``device.device_id`` is then that text, as it was sent.
    """

    device: DeviceInfo
    job_id: str
    user: UserInfo = NOBODY
    fleet: FleetRange | None = None


class SelectionResponse(Message, frozen=True):
    """``selection`` maps a device id (or "*": any device that asks) to the id of its selection."""

    status: Status
    job_id: str | None = None
    task_id: str | None = None
    selection: dict[str, int] | None = None
    retry_wait: float | None = None
    message: str | None = None


class ResultReport(Message, frozen=True):
    """What a device learned. ``update`` is the flat little-endian float32 vector of the job's schema.

    ``absolute``: it is the model after training, and not the difference; a device that speaks numbers tells no other.
    ``metrics_left_out`` says which of the metrics that were sent could not be read, and why.
    """

    device: DeviceInfo
    job_id: str
    task_id: str
    task_name: str
    update: memoryview
    num_examples: float = 1.0
    metrics: dict[str, float] = {}
    status: str = "OK"
    cookie: dict[str, Any] | None = None
    user: UserInfo = NOBODY
    absolute: bool = False
    metrics_left_out: str = ""


class ResultResponse(Message, frozen=True):
    """``counted`` is the promise: true only when the result is in the running sum exactly once, durably.

    Versions are made of that sum, each of no fewer results than the job's rule says.
    """

    status: Status
    counted: bool
    task_id: str | None = None
    task_name: str | None = None
    message: str | None = None
    retry_wait: float | None = None
    duplicate: bool = False


class ResultOffer(Message, frozen=True):
    """A gateway asks before it reads a large body: would a result of this task be taken?

    Answered by a ResultResponse: OK and not counted means "send it"; anything else is the final answer.
    """

    device: DeviceInfo
    job_id: str
    task_id: str


class RefusedResult(Message, frozen=True):
    """A result that a gateway refused, so that its job never saw it: whose it was, and why.

    ``task_id`` is empty where the device named none. Of the device only its id, platform and app version are told.
    """

    device: DeviceInfo
    job_id: str
    task_id: str
    reason: str
    message: str


class RefusedResults(Message, frozen=True):
    """What a gateway tells a job of those that it refused, and of how many more there were by reason."""

    items: tuple[RefusedResult, ...]
    more: dict[str, int] = {}


EdgeRequest = JobRequest | TaskRequest | SelectionRequest | ResultReport | ResultOffer
EdgeResponse = JobResponse | TaskResponse | SelectionResponse | ResultResponse


class Topic(StrEnum):
    """What a frame's request asks of a job."""

    TASK = "task_request"
    SELECTION = "selection_request"
    RESULT = "result_report"
    OFFER = "result_offer"
    STATUS = "status"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    REFUSED = "results_refused"


# --- jobs and their life cycle ------------------------------------------------------------------------------------


class Eligibility(Message, frozen=True):
    """Which devices a job takes. Empty fields admit everyone; versions compare number by number."""

    platforms: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    app_version_min: str = ""


class RunningJob(Message, frozen=True):
    """A launched job as gateways know it: ``meta["edge_method"]`` must be non-empty for it to be listed.

    ``address`` is where its process listens and ``blobs`` the folder of its model files; both may be absent yet.
    ``device_configs``: what devices of a platform, in lower case, are told in place of ``device_config``.
    """

    job_id: str
    name: str
    meta: dict[str, Any] = {}
    device_config: Any = None
    eligibility: Eligibility = Eligibility()
    address: str = ""
    blobs: str = ""
    device_configs: dict[str, Any] = {}


class JobLaunched(Message, frozen=True, tag=True):
    """A job was started; devices may be told of it though its process may not answer yet."""

    job: RunningJob


class JobCompleted(Message, frozen=True, tag=True):
    """A job reached its stop rule."""

    job_id: str = ""


class JobCancelled(Message, frozen=True, tag=True):
    """A person ended a job before its stop rule did."""

    job_id: str = ""


class JobFailed(Message, frozen=True, tag=True):
    """A job ended short of its stop rule, and nobody asked it to; ``reason`` is for people."""

    job_id: str = ""
    reason: str = ""


class TableSnapshot(Message, frozen=True, tag=True):
    """All running jobs; what a gateway gets first whenever it connects. It replaces what was known."""

    jobs: tuple[RunningJob, ...] = ()


LifeCycleEvent = JobLaunched | JobCompleted | JobCancelled | JobFailed
FeedEvent = LifeCycleEvent | TableSnapshot


# --- what people see ----------------------------------------------------------------------------------------------


class KeptModel(Message, frozen=True):
    """A version whose model is kept; ``metrics`` are what its evaluation said.

    ``results``: of how many it was made; 0: it is an earlier version again; None: an earlier release made it.
    """

    version: int
    sha256: str
    num_bytes: int
    metrics: dict[str, float] = {}
    results: int | None = None


class FleetGroup(Message, frozen=True):
    """How the devices of one platform and app version fare: task requests, tasks given, results.

    ``zeros``: of the results, counted or refused, those with an update whose numbers are all 0.
    ``refusals`` are the refused results by reason, and ``newest_refusal`` is what the newest of them was told.
    """

    platform: str = ""
    app_version: str = ""
    asked: int = 0
    given: int = 0
    training: int = 0
    counted: int = 0
    refused: int = 0
    lost: int = 0
    zeros: int = 0
    refusals: dict[str, int] = {}
    newest_refusal: str = ""


class DeviceMetric(Message, frozen=True):
    """What devices measured of a version on their own data: by examples (``mean``), and by device, each alike.

    ``spread`` is the standard deviation over devices; ``percentiles`` (p10, p50, p90) are of a sample of them.
    """

    name: str
    version: int
    devices: int
    examples: float
    mean: float
    mean_by_device: float = 0.0
    spread: float = 0.0
    percentiles: dict[str, float] = {}


class Warned(Message, frozen=True):
    """Something that a person should know of a job, and how often it came: ``text`` is that of the last time.

    Times are seconds since 1970; 0: not known.
    """

    text: str
    times: int = 1
    first_at: float = 0.0
    last_at: float = 0.0


class FailingEvaluation(Message, frozen=True):
    """The job's evaluation fails: since which version, of which last, how often, and with what error the last time."""

    since: int
    last: int
    times: int = 1
    error: str = ""


class PausedBy(StrEnum):
    """Who paused a job: a person; or the job itself, which then needs one."""

    PERSON = "person"
    ROUNDS = "rounds"  #: After the last deadline of a round fewer results than its quorum had come.
    DIVERGENCE = "divergence"  #: The next version would not have been finite.


class JobStatus(Message, frozen=True):
    """A job's own account of itself, for the CLI and the dashboard.

    ``waiting_for`` says in words what the job waits for, and ``paused_by`` who paused it, while it is. Counts are
    since the job's first start, as far as its journal remembers; ``warnings`` are things a person should know (work
    lost by a crash, a failing evaluation), in sentences; ``warned`` are the same but for the failing evaluation, with
    how often and when. ``evaluation_fails`` is there while it does; ``metrics`` are then of the last version that was
    measured, ``metrics_version``. ``ack_ms`` is the time from a result to its answer, ``commit_ms`` that of writing a
    commit, as "p50" and "p99" of the last thousand. ``waiting`` is about how many devices were told to ask again, and
    will. ``kept`` are the models that stay: the best, which is ``best_version``, and the newest. Of ``counted``
    results, ``buffered`` are in the sum of the version to come, ``dropped`` were left out where training diverged,
    ``measured`` measured the model only, and all others are in versions. ``metrics_left_out`` is how many were
    counted without some of their metrics, and ``newest_left_out`` says which and why, of the newest. ``reproducible``
    is whether ``seed`` alone decides the model: in wall time it never is.
    """

    job_id: str
    name: str
    state: str
    workflow: str
    version: int = 0
    buffered: int = 0
    goal: int = 0
    places: int = 0
    training: int = 0
    lost: int = 0
    counted: int = 0
    duplicates: int = 0
    refused: dict[str, int] = {}
    metrics_left_out: int = 0
    newest_left_out: str = ""
    staleness: dict[int, int] = {}
    metrics: dict[str, float] = {}
    metrics_version: int = 0
    model_sha256: str = ""
    uptime_s: float = 0.0
    waiting_for: str = ""
    paused_by: PausedBy | None = None
    warnings: tuple[str, ...] = ()
    journal: str = ""
    finished: str = ""
    oldest_lease_s: float = 0.0
    best_version: int = 0
    best_metric: float | None = None
    kept: tuple[KeptModel, ...] = ()
    fleet: tuple[FleetGroup, ...] = ()
    ack_ms: dict[str, float] = {}
    commit_ms: dict[str, float] = {}
    waiting: int = 0
    warned: tuple[Warned, ...] = ()
    evaluation_fails: FailingEvaluation | None = None
    dropped: int = 0
    measured: int = 0
    seed: int | None = None
    reproducible: bool | None = None
    by_devices: tuple[DeviceMetric, ...] = ()

    def version_of(self, metric: str) -> int:
        """The version of which this one of ``metrics`` was measured: devices measure later than the server."""
        return next((each.version for each in self.by_devices if each.name == metric), self.metrics_version)


class JobEvent(Message, frozen=True, omit_defaults=True):
    """Something that happened to a job, for people. ``kind`` says which fields there are; ``at`` is seconds since 1970.

    started (version, text: what was interrupted), published (version, counted, results: of how many the version is
    made, took_s since the version before), evaluated (version, metrics), evaluation_failed (version, text: after one
    that did not; the next that does not is told by evaluated), measured (version, metrics, text: by devices, on their
    data), warning (text), state (text: the new one), finished (version, counted, left: counted results in no version,
    text: why).
    """

    at: float
    kind: str
    version: int = 0
    counted: int = 0
    took_s: float = 0.0
    metrics: dict[str, float] = {}
    text: str = ""
    results: int = 0
    left: int = 0


#: Durations of requests are counted between these; what took longer than the last is counted apart.
LATENCY_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class GatewayCounters(Message, frozen=True, tag=True):
    """What a gateway has done since it started; sent to control every second.

    By kind of request: in ``requests`` how many came; in ``answers`` how they ended, by the protocol's status or, where
    the gateway answered by itself, by HTTP's; in ``latency`` how long they took, from the end of the head to the
    answer, counted as ``LATENCY_BOUNDS_S`` divides it, and their sum in ``latency_s``. ``refused`` is by reason, and
    ``refused_of`` has of these, by running job, what was a result of one.
    """

    gateway: int = 0
    requests: dict[str, int] = {}
    refused: dict[str, int] = {}
    refused_of: dict[str, dict[str, int]] = {}
    connections: int = 0
    uptime_s: float = 0.0
    answers: dict[str, dict[str, int]] = {}
    latency: dict[str, list[int]] = {}
    latency_s: dict[str, float] = {}
    bytes_in: int = 0
    bytes_out: int = 0
