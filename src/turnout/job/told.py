"""What a job is told and answers with nothing: by people, through control, and by gateways."""

import msgspec

from turnout.job.core.events import Cancelled, Event, Paused, ResultsRefused, Resumed
from turnout.messages import RefusedResults, Topic

_results_refused = msgspec.msgpack.Decoder(RefusedResults)


def event_of(topic: Topic, payload: memoryview) -> Event:
    """What is told, as the core's event."""
    match topic:
        case Topic.REFUSED:
            return ResultsRefused(_results_refused.decode(payload))
        case Topic.CANCEL:
            return Cancelled(bytes(payload).decode(errors="replace") or "cancelled by a person")
        case Topic.PAUSE:
            return Paused()
    assert topic is Topic.RESUME, f"{topic} is to be answered"
    return Resumed()
