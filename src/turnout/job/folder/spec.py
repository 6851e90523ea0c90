"""The settings of a job: what ``job.toml`` may say, section by section.

Each section is a frozen struct; where a choice carries its own settings, each choice is a struct of its own. What a
field's type admits is what ``toml.py`` tells a person whose value it refuses.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from turnout.aggregator import staleness
from turnout.job.workflow.rounds import quorum_of
from turnout.messages import Eligibility
from turnout.text.given import JOB_NAME_CHARS_MAX, JOB_NAME_PATTERN

YEAR_S = 366 * 24 * 3600.0
COUNT_MAX = 10_000_000  #: Devices at once, or results in one version.
#: Settings of earlier releases, and what became of them.
REMOVED = {
    "leases.first_s": "is learned now, from 60 s on",
    "selection.known_s": "follows from wait_max_s under [pacing] now",
    "selection.devices_min": "is gone, as draws are made among all devices that are known",
}
RESULTS_MIN = 2  #: Of a version, unless a job sets another number.

Name = Annotated[
    str,
    Meta(
        max_length=JOB_NAME_CHARS_MAX,
        pattern=JOB_NAME_PATTERN,
        description=f"a name of 1 to {JOB_NAME_CHARS_MAX} printable characters",
    ),
]
Version = Annotated[str, Meta(max_length=64, pattern=r"^(\d+(\.\d+)*)?$", description='a version like "1.4.0"')]
Count = Annotated[int, Meta(ge=1, le=COUNT_MAX)]
CountOrNone = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
Seconds = Annotated[float, Meta(gt=0, le=YEAR_S)]
SecondsOrNone = Annotated[float, Meta(ge=0, le=YEAR_S)]
Positive = Annotated[float, Meta(gt=0, le=1e30)]
Share = Annotated[float, Meta(gt=0, le=1)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of ``job.toml``: a key that it does not know is an error."""


# --- [training.staleness] -----------------------------------------------------------------------------------------


class ConstantDiscount(Section, frozen=True, tag_field="discount", tag="constant"):
    """Every update counts fully, however stale."""

    def at(self, versions: int) -> float:
        return staleness.constant(versions)


class PolynomialDiscount(Section, frozen=True, tag_field="discount", tag="polynomial"):
    """An update ``s`` versions old counts ``(1 + s) ** -exponent``."""

    #: How fast age devalues, 0 to 10. FedBuff uses 0.5; more where updates of old models do harm.
    exponent: Annotated[float, Meta(ge=0, le=10)] = 0.5

    def at(self, versions: int) -> float:
        return staleness.polynomial(versions, self.exponent)


class HingeDiscount(Section, frozen=True, tag_field="discount", tag="hinge"):
    """An update counts fully up to ``b`` versions old, then ``1 / (a * (s - b) + 1)``."""

    #: How steeply age devalues beyond ``b``, above 0 and up to 1000. FedAsync uses 10.
    a: Annotated[float, Meta(gt=0, le=1000)] = 10.0
    #: Up to this age nothing is lost, 0 to 1000. Set it to the staleness that an ordinary device has.
    b: Annotated[float, Meta(ge=0, le=1000)] = 4.0

    def at(self, versions: int) -> float:
        return staleness.hinge(versions, self.a, self.b)


class FlareDiscount(Section, frozen=True, tag_field="discount", tag="flare"):
    """An update ``s`` versions old counts ``1 / (1 + sqrt(s + 1))``, a fresh one half: as in NVIDIA FLARE."""

    def at(self, versions: int) -> float:
        return staleness.flare(versions)


# --- [training] ---------------------------------------------------------------------------------------------------


class Training(Section, frozen=True):
    """What both workflows have: how results are weighed and bounded."""

    #: "examples": a result weighs its ``num_examples``, up to ``weight_max``. "uniform": all weigh the same, which
    #: no device can inflate; choose it where devices are not trusted or have about as much data each.
    weighting: Literal["examples", "uniform"] = "examples"
    #: The cap put into each lease: a device that claims more examples weighs this much. Set it to what a large honest
    #: device has, so that nobody dominates a version.
    weight_max: Annotated[float, Meta(gt=0, le=1e12)] = 1000.0
    #: The largest L2 norm of an update; a larger one is refused. Unset: beyond 100 times the median norm of the job's
    #: updates so far or, of its first, beyond the largest of the model's norm, the root of its size, and 100. Twice
    #: the largest norm that ``turnout check --devices N`` measures, or more: norms fall while a model learns, so it
    #: must let the first versions through, and bounds less later. Nothing smaller is refused then.
    update_norm_max: Positive | None = None
    #: Whether an update whose numbers are all 0 is refused. Its device has not trained, and it thins the mean: FLARE's
    #: SDK for iOS sends nothing else unless it was corrected. Not for models that are often right already.
    refuse_zeros: bool = False
    #: No version is made of fewer results, not even the last of a job that ends; at least 2 unless you set 1: a version
    #: of one result is one device's data. Unset: what closes a version, ``buffer_goal`` or the quorum.
    results_min: Count | None = None


class RoundsTraining(Training, frozen=True, tag_field="workflow", tag="rounds"):
    """Synchronous rounds: a cohort trains one version, and the version closes when enough of it has reported."""

    #: Results that close a round, at least 1. More make a steadier step and a slower round; 30 to 300 is usual.
    cohort: Count = 32
    #: Devices asked per result needed, 1 to 100. 1.3 covers a dropout of 20 %.
    over_selection: Annotated[float, Meta(ge=1, le=100)] = 1.3
    #: How long a round waits for its cohort. Set it to what most devices need for a task, connection included.
    deadline_s: Seconds = 60.0
    #: The share of the cohort that suffices at the deadline, above 0 and up to 1.
    quorum: Share = 0.5
    #: How often a round below quorum is extended, with more devices asked, before the job pauses and says so.
    round_extensions_max: Annotated[int, Meta(ge=0, le=1000)] = 3

    def __post_init__(self) -> None:
        _check_least(self, "cohort", self.cohort)

    @property
    def least(self) -> int:
        """Results of the smallest version."""
        return self.results_min or max(quorum_of(self.cohort, self.quorum), RESULTS_MIN)


class BufferedTraining(Training, frozen=True, tag_field="workflow", tag="buffered"):
    """Buffered asynchronous training (FedBuff): a version closes after a number of results, from any versions."""

    #: Most devices training at once, at least 1. More make versions come faster, and updates staler.
    concurrency: Count = 100
    #: Results that close a version, at least 1. FedBuff uses 10; a tenth to a quarter of ``concurrency`` keeps
    #: staleness at a few versions.
    buffer_goal: Count = 16
    #: A result trained from a version more than this many behind is refused. Above what slow honest devices reach.
    staleness_max: Annotated[int, Meta(ge=0, le=100_000)] = 20
    #: What a stale result still counts.
    staleness: ConstantDiscount | PolynomialDiscount | HingeDiscount | FlareDiscount = PolynomialDiscount()

    def __post_init__(self) -> None:
        _check_least(self, "buffer_goal", self.buffer_goal)

    @property
    def least(self) -> int:
        """Results of the smallest version."""
        return self.results_min or max(self.buffer_goal, RESULTS_MIN)


def _check_least(training: RoundsTraining | BufferedTraining, setting: str, goal: int) -> None:
    if training.least <= goal:
        return
    if training.results_min is not None:
        raise ValueError(f"results_min = {training.least} is above {setting} = {goal}: no version would ever close")
    raise ValueError(
        f"{setting} = {goal} makes versions of one result, each of which is one device's data; raise {setting}, or set "
        "results_min = 1 if that is meant"
    )


# --- the other tables ---------------------------------------------------------------------------------------------


class SgdOptimizer(Section, frozen=True, tag_field="name", tag="sgd"):
    """The server's step: ``v = momentum * v + mean update; model += learning_rate * v``."""

    #: How far the model follows the mean update. 1 is plain federated averaging; less where versions are noisy.
    learning_rate: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    #: How much of the last step is kept, 0 to below 1. With momentum m, lower ``learning_rate`` to about 1 - m.
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0


class AdaptiveOptimizer(Section, frozen=True):
    """A step of its own size for every parameter, as FedOpt (arXiv:2003.00295, algorithm 2) has it."""

    #: About the most that a parameter moves in one version. The paper finds 0.01 to 0.1 good, and a rate for the
    #: devices (``[device]``) that is found together with it.
    learning_rate: Annotated[float, Meta(gt=0, le=1000)] = 0.01
    #: How much of the last mean update is kept, 0 to below 1.
    beta1: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    #: How little steps adapt: parameters whose updates are below it move less. The paper finds 0.001 good.
    tau: Annotated[float, Meta(gt=0, le=1000)] = 0.001


class AdamOptimizer(AdaptiveOptimizer, frozen=True, tag_field="name", tag="adam"):
    """FedAdam: steps adapt to a running mean of the squares. No bias correction: the first steps are short."""

    #: How much of the mean of squares is kept, 0 to below 1. The nearer to 1, the slower steps adapt.
    beta2: Annotated[float, Meta(ge=0, lt=1)] = 0.99


class YogiOptimizer(AdaptiveOptimizer, frozen=True, tag_field="name", tag="yogi"):
    """FedYogi: as Adam, but where updates shrink, steps grow again only slowly; for uneven devices."""

    #: As Adam's.
    beta2: Annotated[float, Meta(ge=0, lt=1)] = 0.99


class AdagradOptimizer(AdaptiveOptimizer, frozen=True, tag_field="name", tag="adagrad"):
    """FedAdagrad: steps only get shorter; for parameters that seldom matter, such as words."""

    #: The paper's FedAdagrad keeps nothing of the last mean update.
    beta1: Annotated[float, Meta(ge=0, lt=1)] = 0.0


Optimizer = SgdOptimizer | AdamOptimizer | YogiOptimizer | AdagradOptimizer


class CheckInSelection(Section, frozen=True, tag_field="kind", tag="checkin"):
    """A free place goes to a device that asks; where more ask than there are places, chance decides among them, and a
    device that has just reported is not likelier to get one than those that wait.
    """

    #: The least time between two tasks of one device. 0: none. Raise it to spread the work over the fleet.
    participation_interval_s: SecondsOrNone = 0.0
    #: About how long a free place may stay free so that devices that ask less often have a chance, where more ask than
    #: there are places. 0: first come, first served.
    thinning_window_s: Annotated[float, Meta(ge=0, le=3600)] = 0.5


class CohortSelection(Section, frozen=True, tag_field="kind", tag="cohort"):
    """Free places are drawn among all devices that asked lately: one that asks often is not likelier than any other."""

    #: The least time between two tasks of one device. 0: none. Raise it to spread the work over the fleet.
    participation_interval_s: SecondsOrNone = 0.0
    #: How long a place is kept for a device that was drawn. Then another is drawn as well, and the first of them that
    #: asks gets it.
    invite_s: Seconds = 20.0
    #: Whether one request may register a whole fleet, "prefix?N", as FLARE's simulator does. For laboratories: who may
    #: do that can be as many devices as it likes.
    allow_fleets: bool = False


Selection = CheckInSelection | CohortSelection


class EligibilityRule(Eligibility, frozen=True, forbid_unknown_fields=True):
    """Which devices the job takes; what is left out admits everyone."""

    #: Platforms as devices name them ("android", "ios", "linux"), in any case.
    platforms: tuple[Name, ...] = ()
    #: Capabilities of which a device must offer at least one.
    methods: tuple[Name, ...] = ()
    #: The oldest app version taken, like "1.4.0"; compared number by number.
    app_version_min: Version = ""


class Pacing(Section, frozen=True):
    """When devices that got no task shall ask again."""

    #: How many waiting devices shall ask per second, altogether. Enough that a free place is soon taken: a few times
    #: the results expected per second.
    check_ins_per_s: Annotated[float, Meta(gt=0, le=1_000_000)] = 100.0
    #: The shortest wait told to a device, but for the first after a result, which may be a part of one.
    wait_min_s: Seconds = 1.0
    #: The longest. A fleet can be no larger than ``check_ins_per_s * wait_max_s`` to be asked at that rate.
    wait_max_s: Seconds = 600.0

    def __post_init__(self) -> None:
        if self.wait_min_s > self.wait_max_s:
            raise ValueError(f"wait_min_s = {self.wait_min_s:g} is above wait_max_s = {self.wait_max_s:g}")


class Leases(Section, frozen=True):
    """How long a device keeps its place. The time is learned from the fleet, from 60 s on; these are its bounds."""

    #: Never shorter. Above a hiccup of the network.
    min_s: Seconds = 5.0
    #: Never longer. What you would wait for the slowest device before giving its place away.
    max_s: Seconds = 3600.0
    #: How long after its lease a device that heard no answer may send the same result again and be told rightly
    #: whether it counted. As long as devices may be offline.
    resend_window_s: SecondsOrNone = 600.0

    def __post_init__(self) -> None:
        if self.min_s > self.max_s:
            raise ValueError(f"min_s = {self.min_s:g} is above max_s = {self.max_s:g}")


class Evaluation(Section, frozen=True):
    """When ``evaluate`` of ``server.py`` looks at the model, and what is kept for what it says.

    The last version is always evaluated, unless a person cancels the job or every is 0.
    """

    #: Versions from one evaluation to the next; 0: never. Raise it where an evaluation takes longer than a version.
    every: CountOrNone = 1
    #: What makes a version the best, whose model is kept: a metric, as ``evaluate`` calls it. Unset: none.
    metric: Name | None = None
    #: "max": more of it is better, as of an accuracy; "min": less, as of a loss.
    goal: Literal["max", "min"] = "max"
    #: Number of newest versions kept in addition to the best, 1 to 20. Each takes the size of a model.
    keep: Annotated[int, Meta(ge=1, le=20)] = 1
    #: The share of tasks, 0 to 0.9, in which a device only measures the model on its own data. Shown as federated/NAME,
    #: weighed by examples. Each such task takes a place for a while, and its device may train the same version too.
    federated: Annotated[float, Meta(ge=0, le=0.9)] = 0.0

    def __post_init__(self) -> None:
        if self.metric is not None and not self.every:
            raise ValueError("with every = 0 nothing is measured, so no metric can make a version the best")


class WireRule(Section, frozen=True):
    """What devices speak that take no safetensors."""

    #: "weights": models and updates as nested lists of numbers. "number": a model of one parameter, as a bare number;
    #: devices answer with the new value. "executorch": a .pte file, made by export(model) of server.py.
    form: Literal["weights", "number", "executorch"] = "weights"


class Disk(Section, frozen=True):
    """What the job may take of the disk."""

    #: Most bytes of its journal and its models. At the bound the job is FULL: it acknowledges nothing until
    #: old models are gone or this is raised. About twenty times the model, and the rest is bitmaps and leases.
    bytes_max: Annotated[int, Meta(ge=1_000_000, le=10**15)] = 16 * 2**30


class StopRule(Section, frozen=True):
    """When the job is completed: at the first that is reached. At least one must be set.

    Tasks that are out then may still be reported for 15 s, where a last version can come of them.
    """

    #: At this model version.
    versions: Count | None = None
    #: After this much time of running, pauses left out.
    time_s: Seconds | None = None
    #: The metric that ``at_least`` or ``at_most`` is about. Unset: that of [evaluation].
    metric: Name | None = None
    #: Stop when the metric is at least this.
    at_least: float | None = None
    #: Stop when the metric is at most this.
    at_most: float | None = None
    #: Stop after this many versions without a better one, by the metric of [evaluation]. Choose more than the
    #: noise between versions.
    patience: Count | None = None

    def __post_init__(self) -> None:
        if self.at_least is not None and self.at_most is not None:
            raise ValueError("set at_least or at_most, not both")
        if self.metric is not None and self.at_least is None and self.at_most is None:
            raise ValueError(f'at_least or at_most is missing: at which value of "{self.metric}" does the job end?')
        if self.versions is None and self.time_s is None:
            raise ValueError("set versions, time_s or both: without either the job would never end")


class JobSpec(Section, frozen=True):
    """All of ``job.toml``."""

    #: What devices ask for; up to 128 characters. Several jobs may share a name.
    name: Name
    #: [stop]
    stop: StopRule
    #: Makes what chance decides the same again: what ``initial_model(seed)`` draws, the ``seed`` of [device] unless
    #: that is set, and in ``turnout run`` also who is slow, who holds what, and selection. Never keys or tokens, nor,
    #: on a server, who is selected.
    seed: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    #: How devices train, as the FLARE edge protocol names it. turnout show has it; devices are not told.
    edge_method: Name = "numpy"
    #: [training]: ``workflow`` chooses which.
    training: RoundsTraining | BufferedTraining = BufferedTraining()
    #: [optimizer]: ``name`` chooses which.
    optimizer: Optimizer = SgdOptimizer()
    #: [device]: handed to the trainer of each device as it is (epochs, batch_size, learning_rate, momentum, ...).
    device: dict[str, Any] = {}
    #: [selection]: ``kind`` chooses which.
    selection: Selection = CheckInSelection()
    #: [eligibility]
    eligibility: EligibilityRule = EligibilityRule()
    #: [pacing]
    pacing: Pacing = Pacing()
    #: [leases]
    leases: Leases = Leases()
    #: [evaluation]
    evaluation: Evaluation = Evaluation()
    #: [wire]
    wire: WireRule = WireRule()
    #: [disk]
    disk: Disk = Disk()

    def __post_init__(self) -> None:
        stop, ranked = self.stop, self.evaluation.metric is not None
        if stop.patience is not None and not ranked:
            raise ValueError(
                "patience under [stop] counts versions without a better one: set metric under [evaluation]"
            )
        target = stop.at_least is not None or stop.at_most is not None
        if target and stop.metric is None and not ranked:
            raise ValueError("at_least and at_most under [stop] are bounds of a metric: set metric beside them")
        if target and not self.evaluation.every:
            raise ValueError("every = 0 under [evaluation] measures nothing, so no bound under [stop] is ever reached")

    @property
    def device_settings(self) -> dict[str, Any]:
        """What trainers are handed."""
        return self.device if self.seed is None else {"seed": self.seed, **self.device}

    @property
    def needs_evaluation(self) -> bool:
        """Whether settings of this job mean nothing unless something measures its model."""
        return self.evaluation.metric is not None or self.stop.metric is not None
