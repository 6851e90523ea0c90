"""Tables, of which a commit says which rows came and went: a journal writes these, and no others. Pure.

Ten thousand leases are some 700 kB; written whole with each commit they took most of its time, and so set its pace.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = tuple[int | float | bytes, ...]  #: As a journal stores it; its first value is the key.
K = TypeVar("K", int, bytes)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class Table(Generic[K, V]):
    """How the values of a table become rows, and rows become values."""

    name: str
    columns: tuple[str, ...]
    rows: Callable[[Mapping[K, V]], Sequence[Row]]
    value: Callable[[Row], V]


@dataclass(frozen=True, slots=True)
class Rows(Generic[K, V]):
    """What a commit says of one table. What it names neither as come nor as gone is as it was."""

    came: Mapping[K, V]  #: The rows that are new, or in place of those of the same keys.
    went: Collection[K] = ()  #: The keys of those that are not there any more.
    whole: bool = False  #: There are no others than those in ``came``.

    def after(self, before: Mapping[K, V]) -> "Rows[K, V]":
        """The whole table, of which the commit before held ``before``."""
        if self.whole:
            return self
        rows = dict(before)
        for key in self.went:
            rows.pop(key, None)
        rows.update(self.came)
        return Rows(rows, whole=True)
