"""Who gets a free place: ``checkin`` gives it to a device that asks, thinned when many ask."""

from dataclasses import dataclass
from random import Random

RATE_HALF_LIFE_S = 1.0  #: How fast the measured rate of asks forgets.


@dataclass(slots=True)
class CheckIn:
    """First come, first served favours devices that ask often; so when far more ask than there are places, chance
    decides which of the asks within the next ``window_s`` get them.

    ``window_s`` is about how long a free place may stay free for this fairness; 0 turns thinning off.
    """

    window_s: float
    _rate: float = 0.0
    _since: float = 0.0

    def admits(self, free: int, now: float, rng: Random) -> bool:
        """Whether the device that asks now gets one of ``free`` places. Call it for every ask."""
        rate = self._asked(now)
        if free <= 0:
            return False
        expected = rate * self.window_s
        return expected <= free or rng.random() < free / expected

    def _asked(self, now: float) -> float:
        """Asks per second, as an exponentially weighted mean."""
        elapsed = max(now - self._since, 0.0)
        self._since = now
        self._rate = self._rate * 0.5 ** (elapsed / RATE_HALF_LIFE_S) + 0.6931 / RATE_HALF_LIFE_S
        return self._rate
