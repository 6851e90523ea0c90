"""What a person should know about a job, such as lost work. Pure; the shell says when it is."""

import re
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from turnout.messages import Warned

WARNINGS_MAX = 20
_NUMBER = re.compile(r"\b[0-9a-f]{12,}\b|[0-9]+(?:[.,:][0-9]+)*")  #: A digest, a time or a number.


class SavedWarnings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest of them, as of a commit; the last is the newest."""

    warned: tuple[Warned, ...] = ()


@dataclass(slots=True)
class Warnings:
    """The newest of them. Those that differ in their numbers only are one: they come of one thing, again and again."""

    #: The kinds of which some were added since ``told``, so that what was saved since does not say when.
    undated: set[str] = field(default_factory=set)
    _by_kind: dict[str, Warned] = field(default_factory=dict)  # the newest last
    _untold: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        kind = _NUMBER.sub("0", text)
        before = self._by_kind.pop(kind, None)
        self._by_kind[kind] = Warned(text) if before is None else replace(before, text=text, times=before.times + 1)
        self.undated.add(kind)
        while len(self._by_kind) > WARNINGS_MAX:
            del self._by_kind[next(iter(self._by_kind))]
        if _is_power_of_two(self._by_kind[kind].times):  # what continues is told again, less and less often
            self._untold = [*self._untold, sentence(self._by_kind[kind])][-WARNINGS_MAX:]

    def told(self, at: float) -> list[str]:
        """The sentences that are to be told now; those added since the last call are of ``at``, seconds since 1970."""
        for kind in self.undated & self._by_kind.keys():
            warned = self._by_kind[kind]
            self._by_kind[kind] = replace(warned, first_at=warned.first_at or at, last_at=at)
        told, self._untold, self.undated = self._untold, [], set()
        return told

    @property
    def newest(self) -> list[str]:
        """In sentences; the last is the newest."""
        return [sentence(warned) for warned in self._by_kind.values()]

    def all(self) -> tuple[Warned, ...]:
        return tuple(self._by_kind.values())

    def save(self) -> SavedWarnings:
        return SavedWarnings(self.all())

    def load(self, saved: SavedWarnings) -> None:
        """What was added since the process began comes after them."""
        since = self._by_kind
        self._by_kind = {_NUMBER.sub("0", each.text): each for each in saved.warned}
        for kind, warning in since.items():
            before = self._by_kind.pop(kind, None)
            self._by_kind[kind] = warning if before is None else _together(before, warning)
        while len(self._by_kind) > WARNINGS_MAX:
            del self._by_kind[next(iter(self._by_kind))]


def _together(before: Warned, since: Warned) -> Warned:
    first_at, last_at = before.first_at or since.first_at, max(before.last_at, since.last_at)
    return replace(since, times=before.times + since.times, first_at=first_at, last_at=last_at)


def sentence(warned: Warned) -> str:
    """With how often, before what it came of."""
    if warned.times == 1:
        return warned.text
    what, colon, cause = warned.text.partition(": ")
    return f"{what} ({warned.times} times){colon}{cause}"


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
