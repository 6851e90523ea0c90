"""What people are told about a job: counts, groups of devices, warnings, the log of its events."""
