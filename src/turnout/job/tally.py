"""What a job counts for people. Nothing decides by it."""

from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

STALENESS_SHOWN_MAX = 50  #: Results staler than this are shown together.
REASONS_MAX = 64  #: Distinct reasons of refusal kept apart; there are fewer in a job and its gateways.
OTHER_REASON = "other"


@dataclass(slots=True)
class Tally:
    """Counts since the first start of the job, as far as its journal remembers."""

    counted: int = 0
    duplicates: int = 0
    lost: int = 0  #: Leases that expired.
    refused: Counter[str] = field(default_factory=Counter)
    staleness: Counter[int] = field(default_factory=Counter)

    def count(self, staleness: int) -> None:
        self.counted += 1
        self.staleness[min(staleness, STALENESS_SHOWN_MAX)] += 1

    def refuse(self, reason: str, many: int = 1) -> None:
        count_reason(self.refused, reason, many)

    def snapshot(self) -> dict[str, Any]:
        return {
            "counted": self.counted,
            "duplicates": self.duplicates,
            "lost": self.lost,
            "refused": dict(self.refused),
            "staleness": dict(self.staleness),
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> "Tally":
        return cls(
            state["counted"],
            state["duplicates"],
            state["lost"],
            Counter(state["refused"]),
            Counter(state["staleness"]),
        )


def count_reason(counts: MutableMapping[str, int], reason: str, many: int = 1) -> None:
    """Count refusals by reason, of which a bounded number is kept apart."""
    if reason not in counts and len(counts) >= REASONS_MAX:
        reason = OTHER_REASON
    counts[reason] = counts.get(reason, 0) + many
