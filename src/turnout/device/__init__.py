"""The Python SDK of devices: ``await run_device(url, job_name, trainer, device_id=...)``."""

from turnout.device.client import DeviceClient, Finished, run_device
from turnout.device.session import Session, SessionCounters, SessionPolicy
from turnout.device.trainers.base import Arrays, NoExamples, Trainer, Update

__all__ = [
    "Arrays",
    "DeviceClient",
    "Finished",
    "NoExamples",
    "Session",
    "SessionCounters",
    "SessionPolicy",
    "Trainer",
    "Update",
    "run_device",
]
