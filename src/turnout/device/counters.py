"""What a fleet says of itself once a second."""

from turnout.messages import Message


class FleetCounters(Message, frozen=True):
    """Devices by what they do now; everything else since the fleet's start, but rates and latencies: those are recent.

    ``training`` have a task and work on it; ``lost`` dropped one and are away; ``offline`` would ask or report but have
    no network; ``waiting`` is all others that have not ``ended``. ``sat_out`` have no examples, and are among the
    ended. ``trained`` counts tasks that were done, and ``devices_failed`` devices that failed at one, or sent a result
    that was refused for what it is. ``missing`` is the name of the job that all look for and nobody runs. ``finished``
    says why the fleet ended, in its last counters. ``mischief`` is what the fleet did on purpose: results sent twice,
    connections broken.
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


FAILED_SURE = 100  #: Devices that failed while no result was counted: enough to judge a fleet of any size by ...
TRAINING_SHARE = 20  #: ... unless one more in this many is at work: devices that do well may be slower than those.


def hopeless(counters: FleetCounters) -> str:
    """Why nothing can come of this fleet: no result was counted, and all devices have failed, or the first hundred.

    A device fails when its training does, or when its result is refused for what it is. Empty: something may come.
    """
    failed, refused = counters.devices_failed, sum(counters.refused.values())
    at_work = max(counters.trained - refused - counters.given_up, 0)  # on their way with a result
    if counters.counted or not failed:
        return ""
    all_failed = failed + counters.sat_out >= counters.devices and not at_work
    if not all_failed and (failed < FAILED_SURE or (counters.training + at_work) * TRAINING_SHARE > failed):
        return ""
    return _failing(counters, failed, all_failed=all_failed)


def _failing(counters: FleetCounters, failed: int, *, all_failed: bool) -> str:
    reasons = {**counters.refused, **counters.trainings_failed}
    most = max(reasons, key=lambda reason: reasons[reason], default="no reason given")
    others = f" (other reasons: {len(reasons) - 1})" if len(reasons) > 1 else ""
    who = "the device" if failed == 1 else f"all {failed} devices" if all_failed else f"the first {failed} devices"
    if most in counters.trainings_failed:
        return f"{who} {'fails' if failed == 1 else 'fail'} to train: {most}{others}"
    return f"the result of {who} is refused: {most}{others}"
