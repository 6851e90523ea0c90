"""What a job counts for people. Nothing decides by it."""

from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass, field

import msgspec

STALENESS_SHOWN_MAX = 50  #: Results staler than this are shown together.
REASONS_MAX = 64  #: Distinct reasons of refusal kept apart; there are fewer in a job and its gateways.
OTHER_REASON = "other"
LEFT_OUT_CHARS_MAX = 200  #: Of what is said of metrics that were left out.


class SavedTally(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The counts, as of a commit."""

    counted: int = 0
    duplicates: int = 0
    lost: int = 0
    refused: dict[str, int] = {}
    staleness: dict[int, int] = {}
    metrics_left_out: int = 0  #: Earlier releases wrote neither this nor what follows.
    newest_left_out: str = ""


@dataclass(slots=True)
class Tally:
    """Counts since the first start of the job, as far as its journal remembers."""

    counted: int = 0
    duplicates: int = 0
    lost: int = 0  #: Leases that expired.
    refused: Counter[str] = field(default_factory=Counter)
    staleness: Counter[int] = field(default_factory=Counter)
    metrics_left_out: int = 0  #: Results that were counted without some of their metrics.
    newest_left_out: str = ""  #: Which, of the newest, and why.

    def count(self, staleness: int) -> None:
        self.counted += 1
        self.staleness[min(staleness, STALENESS_SHOWN_MAX)] += 1

    def refuse(self, reason: str, many: int = 1) -> None:
        count_reason(self.refused, reason, many)

    def leave_out(self, why: str) -> None:
        """A result is counted without some of its metrics."""
        self.metrics_left_out += 1
        self.newest_left_out = why[:LEFT_OUT_CHARS_MAX]

    def save(self) -> SavedTally:
        refused, staleness = dict(self.refused), dict(self.staleness)
        numbers = self.counted, self.duplicates, self.lost
        return SavedTally(*numbers, refused, staleness, self.metrics_left_out, self.newest_left_out)

    def load(self, saved: SavedTally) -> None:
        self.counted, self.duplicates, self.lost = saved.counted, saved.duplicates, saved.lost
        self.refused, self.staleness = Counter(saved.refused), Counter(saved.staleness)
        self.metrics_left_out, self.newest_left_out = saved.metrics_left_out, saved.newest_left_out


def count_reason(counts: MutableMapping[str, int], reason: str, many: int = 1) -> None:
    """Count refusals by reason, of which a bounded number is kept apart."""
    if reason not in counts and len(counts) >= REASONS_MAX:
        reason = OTHER_REASON
    counts[reason] = counts.get(reason, 0) + many
