"""The Python API: describe a job, run it here or on a server, take its model home. ``import turnout`` has it all."""

from turnout.api.job import Job
from turnout.api.running import Run, run
from turnout.api.server import RemoteJob, Server, connect

__all__ = ["Job", "RemoteJob", "Run", "Server", "connect", "run"]
