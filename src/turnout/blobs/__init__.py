"""Models by name: written by a job, read by gateways and control."""
