"""turnout trains one model on a fleet of devices that come and go.

The walk of a request, which is also the order of the folders:

    device ──HTTP──▶ gateway ──▶ dispatcher ──▶ transport ──▶ job ──▶ aggregator ──▶ model version + 1
"""

__version__ = "0.1.0"
