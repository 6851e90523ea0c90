"""Results that are refused, here or by a gateway that this job never saw them from: counted, and their places freed."""

from collections.abc import Callable

from turnout.job.core import answers
from turnout.job.core.answers import Refused
from turnout.job.core.standing import Standing
from turnout.job.places.leases import Lease, device_hash
from turnout.messages import DeviceInfo, RefusedResult, RefusedResults, Status


def count(core: Standing, device: DeviceInfo, why: Refused) -> None:
    """Count a refusal, and warn when all that such devices send is bad."""
    core.tally.refuse(why.reason)
    known = core.groups.refused(
        device_hash(device.device_id),
        device,
        why.reason,
        why.message,
        bad=why.status is Status.ERROR,
        zeros=why is answers.ZEROS,
    )
    if known:
        core.warnings.add(known)


def hear(
    core: Standing, told: RefusedResults, lease_of: Callable[[RefusedResult], Lease | Refused], now: float
) -> set[int]:
    """A gateway refused these, as a rule because they do not decode; their devices have been answered.

    Returns the versions whose last place that freed.
    """
    left = {_hear(core, refused, lease_of(refused) if refused.task_id else None, now) for refused in told.items}
    for reason, many in told.more.items():
        core.tally.refuse(reason, many)
        core.groups.refused_unknown(reason, many)
    return {version for version in left if version is not None and not core.parts.places.live.on(version)}


def _hear(core: Standing, refused: RefusedResult, lease: Lease | Refused | None, now: float) -> int | None:
    """As a result that is refused here: its place is free, and its device gets no second try in this version."""
    if isinstance(lease, Refused):
        count(core, refused.device, lease)
        return None
    why = Refused(refused.reason, refused.message, Status.ERROR)
    if lease is None:
        count(core, refused.device, why)
        return None
    if core.counted.has(lease.version, lease.task):
        return None
    core.parts.places.reported(lease, now, trained=False)
    core.parts.places.refuse(lease)
    count(core, refused.device, why)
    core.groups.reported(lease.device)
    return lease.version
