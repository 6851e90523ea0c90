"""The clock by which a child's silence counts. Pure."""

LOOK_S = 1.0  #: The supervisor looks after its children this often.


class WatchedClock:
    """Time in which the supervisor looked: it stands still while nobody does.

    When we look much later than we meant to, we ourselves were stopped, or the machine slept or is too busy. Then the
    children had no time to beat either, or their beats have not been read yet.
    """

    def __init__(self) -> None:
        self._last = 0.0
        self._watched_s = 0.0

    def at(self, now: float) -> float:
        """Seconds watched until ``now``."""
        self._watched_s += min(max(now - self._last, 0.0), LOOK_S)
        self._last = now
        return self._watched_s
