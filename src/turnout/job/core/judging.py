"""Whether a result is sound in itself, whatever the state of the job."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.aggregator import Aggregator
from turnout.aggregator.codec import Refusal
from turnout.aggregator.typical import TypicalNorm
from turnout.job.core import answers
from turnout.job.core.answers import Refused
from turnout.job.core.parts import Rules
from turnout.job.places.leases import Lease
from turnout.job.workflow.bases import Bases
from turnout.messages import EXAMPLES_MAX, EXAMPLES_MIN, NO_EXAMPLES, OK, VALIDATED, ResultReport, Status

NOTHING = np.empty(0, np.float32)


class Judgement(msgspec.Struct, frozen=True):
    """What a result brings: of a task to validate the update is empty."""

    update: NDArray[np.float32]
    weight: float  #: Of a measurement, the examples that it was made on.
    factor: float  #: What the update is multiplied with as it is added: its weight, unless it is to be shortened.
    norm: float = 0.0  #: The update's.
    zeros: bool = False  #: There are numbers, and every one is 0: the device has not trained.


def judge(
    report: ResultReport,
    lease: Lease,
    rules: Rules,
    aggregator: Aggregator,
    typical: TypicalNorm,
    bases: Bases,
    factor: float = 1.0,
) -> Judgement | Refused:
    """Why a result is refused, or what is to be added: with ``factor`` times its weight. Changes nothing."""
    expected = VALIDATED if lease.validate else OK
    if report.status == NO_EXAMPLES:
        return answers.SAT_OUT
    if report.status != expected:
        reason = f"the device reports {report.status[:40]!r}, and not {str(expected)!r}"
        return Refused(answers.DEVICE_FAILED, reason, Status.ERROR)
    if not EXAMPLES_MIN <= report.num_examples <= EXAMPLES_MAX:  # also refuses NaN
        return answers.examples(report.num_examples)
    if lease.validate:
        return Judgement(NOTHING, report.num_examples, 1.0)
    weight = min(report.num_examples, lease.weight_max) if rules.by_examples else 1.0
    if factor == 0:
        return answers.WEIGHED_NOTHING
    weight = min(weight * factor, lease.weight_max)
    if report.update.nbytes % aggregator.dtype.itemsize:
        return Refused("length", f"the update has {report.update.nbytes} bytes; whole floats are", Status.ERROR)
    update = np.frombuffer(report.update, aggregator.dtype)
    if report.absolute:
        difference = bases.difference(lease.version, update)
        if difference is None:
            return Refused("absolute", "this job takes what changed, not the model after training", Status.ERROR)
        update = difference
    norm = aggregator.check(update, weight)
    if isinstance(norm, Refusal):
        return Refused(norm.reason, norm.message, Status.ERROR)
    if norm > typical.norm_max:
        return answers.far_norm(norm, typical.norm_max)
    zeros = _all_zeros(update)
    if zeros and rules.refuse_zeros:
        return answers.ZEROS
    return Judgement(update, weight, weight, norm, zeros)


def _all_zeros(update: NDArray[np.float32]) -> bool:
    """Two of its numbers nearly always tell, at no cost."""
    return not update[0] and not update[-1] and not update.any()
