"""Which leases and taken tasks came and went since a commit: a journal writes these rows, and no others. Pure."""

from dataclasses import dataclass, field

from turnout.job.places.leases import Lease


@dataclass(slots=True)
class Changes:
    """What came and what went since a commit. What is in neither is as it was."""

    leases: dict[int, Lease] = field(default_factory=dict)  #: Those that came, by task.
    ended: set[int] = field(default_factory=set)  #: The tasks of those that went.
    taken: dict[bytes, int] = field(default_factory=dict)
    all_new: bool = False  #: Nobody had taken a task before ``taken``.
