"""What the simulated job's own code says: late, wrong and sometimes not at all, but the same for the same seed."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from turnout.job.core.events import Evaluated
from turnout.job.hooks.choices import SELECT_PATIENCE_S, WEIGH_PATIENCE_S, Decided, Judging

EVALUATION_S = 5.0  #: Mean; longer than many a version.
FAILS = 0.2  #: Share of evaluations that do.
DIVERGES = 0.05  #: Share that measures a number that is not finite, where training may diverge.
METRIC = "accuracy"
JUDGING_S = 0.2  #: Mean time of ``select`` and ``weigh``.
RARE_VERSION = "2.0"  #: Of the app; devices that have it are seldom selected.
RARE_CHANCE = 0.5
#: What ``weigh`` says by the examples of a result; of others it says nothing in time.
FACTORS = {1.0: 1.0, 2.0: 2.0, 3.0: 0.5}


class Clocked(Protocol):
    """A process, which calls back later unless it is dead."""

    def call_later(self, delay_s: float, act: Callable[..., object], *arguments: Any) -> object: ...


@dataclass(slots=True)
class Hooks:
    """Which functions there are, and what they say."""

    rng: Random
    selects: bool = False
    weighs: bool = False
    diverges: bool = False

    def evaluate(self, version: int) -> tuple[float, Evaluated]:
        """How long it takes, and what comes of it: the metric goes up and down."""
        took_s = self.rng.expovariate(1 / EVALUATION_S)
        drawn = self.rng.random()
        if drawn < FAILS:
            return took_s, Evaluated(version, None, "simulated")
        if self.diverges and drawn < FAILS + DIVERGES:
            return took_s, Evaluated(version, None, f"{METRIC} is inf", (METRIC,))
        return took_s, Evaluated(version, {METRIC: float(version * 7 % 10)})

    def factor(self, examples: float) -> float:
        """By how much a result counts more or less, whenever it comes."""
        return FACTORS.get(examples, 1.0) if self.weighs else 1.0

    def weighing(self, process: Clocked) -> Judging:
        return _Judge(self, process, WEIGH_PATIENCE_S, lambda facts: FACTORS.get(facts["num_examples"]))

    def selecting(self, process: Clocked) -> Judging:
        return _Judge(self, process, SELECT_PATIENCE_S, _chance)


def _chance(facts: dict[str, Any]) -> float:
    return RARE_CHANCE if facts["app_version"] == RARE_VERSION else 1.0


@dataclass(slots=True)
class _Judge:
    """Calls back once, with a number or, at the end of its patience, with None."""

    hooks: Hooks
    process: Clocked
    patience_s: float
    says: Callable[[dict[str, Any]], float | None]

    def ask(self, facts: dict[str, Any], decided: Decided, num_bytes: int = 0) -> None:
        number = self.says(facts)
        took_s = min(self.hooks.rng.expovariate(1 / JUDGING_S), self.patience_s)
        self.process.call_later(self.patience_s if number is None else took_s, decided, number)

    async def close(self) -> None:
        pass
