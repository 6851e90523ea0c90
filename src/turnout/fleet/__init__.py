"""Thousands of simulated devices over real HTTP, from one process: ``fleet.process.run_fleet``."""
