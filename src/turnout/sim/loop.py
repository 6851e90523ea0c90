"""Virtual time: a heap of what is to happen, in the order of its time, and of its scheduling where times are equal."""

from collections.abc import Callable
from heapq import heappop, heappush


class VirtualLoop:
    """Runs what was scheduled, and nothing else; the same schedule always gives the same run."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._sequence = 0

    def at(self, when: float, act: Callable[[], object]) -> None:
        """Run ``act`` at ``when`` seconds, or now if that has passed."""
        self._sequence += 1
        heappush(self._heap, (max(when, self.now), self._sequence, act))

    def after(self, delay_s: float, act: Callable[[], object]) -> None:
        self.at(self.now + delay_s, act)

    def run_until(self, end: float, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Run what is due before ``end``, as long as ``goes_on`` says so."""
        while self._heap and self._heap[0][0] <= end and goes_on():
            self.now, _, act = heappop(self._heap)
            act()
