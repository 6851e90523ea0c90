"""Results that a gateway refused, collected for their jobs: told together, and however many they are, a bounded number.

A gateway that decodes a result knows no lease, and a job that does not see it knows nothing of it. So the job is told,
and frees the place at once. Pure.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from turnout.messages import DeviceInfo, RefusedResult, RefusedResults

REFUSALS_MAX = 256  #: Told of one job at a time. Of those beyond it the job learns how many, by reason.
MESSAGE_CHARS_MAX = 200  #: Of what the device was told.


@dataclass(slots=True)
class _OfJob:
    items: list[RefusedResult] = field(default_factory=list)
    more: Counter[str] = field(default_factory=Counter)


class Refusals:
    """What each job is still to be told."""

    def __init__(self) -> None:
        self._jobs: dict[str, _OfJob] = {}

    def add(self, refused: RefusedResult) -> None:
        of_job = self._jobs.setdefault(refused.job_id, _OfJob())
        if len(of_job.items) < REFUSALS_MAX:
            of_job.items.append(_short(refused))
        else:
            of_job.more[refused.reason] += 1

    def tell(self, send: Callable[[str, bytes], bool]) -> None:
        """Hand each job's to ``send``; what it does not take is kept for the next time."""
        for job_id, payload in list(self._encoded()):
            if send(job_id, payload):
                del self._jobs[job_id]

    def forget_unless(self, runs: Callable[[str], bool]) -> None:
        """Drop those of jobs that ended."""
        self._jobs = {job_id: of_job for job_id, of_job in self._jobs.items() if runs(job_id)}

    def _encoded(self) -> Iterator[tuple[str, bytes]]:
        for job_id, of_job in self._jobs.items():
            yield job_id, msgspec.msgpack.encode(RefusedResults(tuple(of_job.items), dict(of_job.more)))


def _short(refused: RefusedResult) -> RefusedResult:
    device = refused.device
    slim = DeviceInfo(device.device_id, app_version=device.app_version, platform=device.platform)
    return msgspec.structs.replace(refused, device=slim, message=refused.message[:MESSAGE_CHARS_MAX])
