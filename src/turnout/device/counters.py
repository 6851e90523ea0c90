"""What a fleet says of itself once a second."""

from turnout.messages import Message


class FleetCounters(Message, frozen=True):
    """Devices by what they do now; everything else since the fleet's start, but rates and latencies: those are recent.

    ``training`` have a task and work on it; ``lost`` dropped one and are away; ``offline`` would ask or report but have
    no network; ``waiting`` is all others that have not ``ended``. ``sat_out`` have no examples, and are among the
    ended. ``trained`` counts tasks that were done, and ``devices_failed`` devices that failed at one. ``missing`` is
    the name of the job that all look for and nobody runs. ``finished`` says why the fleet ended, in its last counters.
    ``mischief`` is what the fleet did on purpose: results sent twice, connections broken.
    """

    devices: int
    training: int = 0
    waiting: int = 0
    lost: int = 0
    offline: int = 0
    ended: int = 0
    tasks: int = 0
    dropped: int = 0
    counted: int = 0
    duplicates: int = 0
    refused: dict[str, int] = {}
    given_up: int = 0
    trainings_failed: dict[str, int] = {}
    sat_out: int = 0
    trained: int = 0
    devices_failed: int = 0
    requests: dict[str, int] = {}
    errors: dict[str, int] = {}
    mischief: dict[str, int] = {}
    requests_per_s: float = 0.0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    connections: int = 0
    elapsed_s: float = 0.0
    missing: str = ""
    finished: str = ""


def hopeless(counters: FleetCounters) -> str:
    """Why nothing can come of this fleet: every device has failed to train, and no task was ever done. Else empty."""
    failed = counters.devices_failed
    if counters.trained or not failed or failed + counters.sat_out < counters.devices:
        return ""
    reasons = sorted(counters.trainings_failed.items(), key=lambda item: -item[1])
    others = f" (other reasons: {len(reasons) - 1})" if len(reasons) > 1 else ""
    who = f"all {failed} devices fail" if failed > 1 else "the device fails"
    return f"{who} to train: {reasons[0][0]}{others}"
