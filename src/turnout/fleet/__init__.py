"""Thousands of simulated devices over real HTTP, from one process: ``run_fleet``."""

from turnout.device.counters import FleetCounters
from turnout.fleet.process import FleetOptions, run_fleet
from turnout.fleet.spec import BadFleet, FleetSpec

__all__ = ["BadFleet", "FleetCounters", "FleetOptions", "FleetSpec", "run_fleet"]
