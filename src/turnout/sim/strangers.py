"""Who has no business in a job: one makes up tasks, the other sends updates that would be the end of its model.

Nothing of either may count; ``checker.py`` tells them from honest devices.
"""

from random import Random

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.job.core.core import JobCore
from turnout.job.places.leases import Lease, Seal, device_hash
from turnout.messages import DeviceInfo, ResultReport, Topic
from turnout.sim.device import SimDevice
from turnout.sim.job import SimJob
from turnout.sim.process import NOBODY

AHEAD = 2**24  #: No task of any world has so high a number, however often the job is started again.
FAR = 1e20  #: Beyond all that the running median of norms could ever allow.


class Poisoner(SimDevice):
    """Does its tasks, and says that every number of the model should be ``FAR`` higher."""

    def update(self) -> NDArray[np.float32]:
        return np.full(self.size, FAR, "<f4")


class Forger:
    """Has the job's key, and seals what this job cannot have given out; never twice the same."""

    def __init__(self, job: SimJob, rng: Random) -> None:
        self._job, self._rng = job, rng
        self._device = DeviceInfo("forger")

    def act(self) -> None:
        """Send one result to the job's process, as if a gateway had taken it for good."""
        process = self._job.process
        if process is None or process.shell is None or not process.alive:
            return
        core = process.shell.core
        task_id = Seal(core.rules.job_id, process.journal.key).close(self._forged(core))
        update = memoryview(np.ones(core.model.size, "<f4").tobytes())
        report = ResultReport(self._device, core.rules.job_id, task_id, "train", update)
        process.received(Topic.RESULT, memoryview(msgspec.msgpack.encode(report)), NOBODY)

    def _forged(self, core: JobCore) -> Lease:
        """Right but for one of its numbers."""
        places = core.parts.places
        granted_at = self._rng.uniform(0.0, 1.0)
        last = max(places.next_task - 1, 0)
        device = device_hash(self._device.device_id)
        lease = Lease(core.version, last, device, places.weight_max, granted_at, granted_at + 1.0)
        wrong: list[dict[str, float]] = [
            {"task": places.next_task + AHEAD},
            {"task": 0, "version": max(core.version, 1)},
            {"weight_max": 2 * places.weight_max},
            {"expires_at": granted_at + places.lease_time.max_s + 1.0},
        ]
        return msgspec.structs.replace(lease, **self._rng.choice(wrong))
