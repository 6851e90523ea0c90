"""Results that a gateway refused, told to their jobs: at once, but however many they are, a bounded number a tick.

A gateway that decodes a result knows no lease, and a job that does not see it knows nothing of it. So the job is told,
and frees the place before the device asks again. Pure.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from turnout.messages import DeviceInfo, RefusedResult, RefusedResults

Send = Callable[[str, bytes], bool]  #: To a job; False when it does not take it now.

REFUSALS_MAX = 256  #: Told of one job in a tick. Of those beyond it the job learns how many, by reason.
MESSAGE_CHARS_MAX = 200  #: Of what the device was told.
NONE: Mapping[str, int] = {}


@dataclass(slots=True)
class _OfJob:
    told: int = 0  # in this tick
    items: list[RefusedResult] = field(default_factory=list)  # that it did not take
    more: Counter[str] = field(default_factory=Counter)


class Refusals:
    """What each job has been told in this tick, and what it is still to be told."""

    def __init__(self) -> None:
        self._jobs: dict[str, _OfJob] = {}

    def tell(self, refused: RefusedResult, send: Send) -> None:
        """Hand this one to ``send``, or keep it for the next tick."""
        of_job = self._jobs.setdefault(refused.job_id, _OfJob())
        if of_job.told + len(of_job.items) >= REFUSALS_MAX:
            of_job.more[refused.reason] += 1
        elif of_job.items or not send(refused.job_id, _encoded([_short(refused)])):
            of_job.items.append(_short(refused))
        else:
            of_job.told += 1

    def tick(self, send: Send) -> None:
        """Hand what is left to ``send``; what it does not take is kept."""
        for job_id, of_job in list(self._jobs.items()):
            of_job.told = 0
            if not (of_job.items or of_job.more) or send(job_id, _encoded(of_job.items, of_job.more)):
                del self._jobs[job_id]

    def forget_unless(self, runs: Callable[[str], bool]) -> None:
        """Drop those of jobs that ended."""
        self._jobs = {job_id: of_job for job_id, of_job in self._jobs.items() if runs(job_id)}


def _encoded(items: list[RefusedResult], more: Mapping[str, int] = NONE) -> bytes:
    return msgspec.msgpack.encode(RefusedResults(tuple(items), dict(more)))


def _short(refused: RefusedResult) -> RefusedResult:
    device = refused.device
    slim = DeviceInfo(device.device_id, app_version=device.app_version, platform=device.platform)
    return msgspec.structs.replace(refused, device=slim, message=refused.message[:MESSAGE_CHARS_MAX])
