"""FLARE's device simulator: one program for a fleet, whose devices are those of its own that are selected.

It asks for the job as ``dummy``, then who is selected as ``prefix?N`` until that is OK once, and as ``dummy`` from then
on. Every answer may name devices of others. A device that has reported is not used again under the same selection.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.contract.flare.players.python import AGAIN_S, NEXT_S, PythonDevice, Reply, Sleep

DUMMY = "dummy"


@dataclass(slots=True)
class PythonFleet:
    """``make`` makes a device of an id."""

    make: Callable[[str], PythonDevice]
    sleep: Sleep
    devices: int
    prefix: str = "7a0c0f2e-1f57-4e0c-9d6a-2f1f0c8a4b11"
    used: dict[str, int] = field(default_factory=dict)
    all: dict[str, PythonDevice] = field(default_factory=dict)
    asked_as: list[str] = field(default_factory=list)

    async def run(self) -> str:
        """One job to its end; says what ended it."""
        job = await self.make(DUMMY).find_job()
        if isinstance(job, str):
            return job
        asker = f"{self.prefix}?{self.devices}"
        while True:
            self.asked_as.append(asker)
            found = await self.make(asker).ask("selection", {"job_id": job["job_id"]}, {})
            if found["status"] == "NO_JOB":
                return "the job is gone"
            if found["status"] == "OK":
                asker = DUMMY
            mine = self._mine(found.get("selection") or {})
            if not mine:
                await self.sleep(AGAIN_S)
            for device_id, selection_id in mine.items():
                ended = await self._turn(job, device_id, selection_id)
                if ended:
                    return ended
                await self.sleep(NEXT_S)

    def _mine(self, selection: dict[str, int]) -> dict[str, int]:
        mine = {
            device_id: selection_id
            for device_id, selection_id in selection.items()
            if device_id.startswith(self.prefix) and self.used.get(device_id) != selection_id
        }
        for device_id in mine:
            self.used.pop(device_id, None)
        return mine

    async def _turn(self, job: Reply, device_id: str, selection_id: int) -> str:
        device = self.all.setdefault(device_id, self.make(device_id))
        task = await device.ask_task(job["job_id"])
        match task["status"]:
            case "OK":
                device.cookie = task["cookie"]
                await device.do(task)
                self.used[device_id] = task["cookie"].get("device_selection_id", selection_id)
            case "RETRY" | "DONE":
                pass
            case "NO_JOB":
                return "the job is gone"
            case other:
                return f"stopped by {other}"
        return ""
