"""Which connections to the API may stay, when more come than there is room for: pure.

Anybody who reaches the port can connect, and only a token, which comes with the head of a request, tells friend from
stranger. Strangers on this machine have the same address as its owner, so a bound that refuses would let them shut the
owner out. Here the new connection is taken, and a stranger gives way: the one that has been there longest. No more than
``ACCEPTED_PER_TURN`` may arrive in one turn of the loop, so each stays for at least ``TURNS_MIN`` turns, however many
come. That is enough to read a head that was sent with the connection and to check its token; during a flood, a head
that comes later may find its connection closed.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

CONNECTIONS_MAX = 512  #: Of all peers.
STRANGERS_PER_PEER_MAX = 128  #: Connections of one peer that have not shown a token.
ACCEPTED_PER_TURN = 16  #: Connections taken in one turn of the loop; the others wait in the system's queue.
TURNS_MIN = STRANGERS_PER_PEER_MAX // (ACCEPTED_PER_TURN + 1)  #: asyncio may take one more than it is told to.
HEAD_S = 10.0  #: For the head of a request, from the connection or the answer before it.
ANSWER_S = 30.0  #: For the rest of the request and its answer, without a token.


@dataclass(slots=True)
class _Stranger:
    """``until``: when it has to have come further."""

    peer: str
    until: float


class Crowd:
    """Every connection by a key; those who have shown a good token are no strangers until their answer is over."""

    def __init__(self) -> None:
        self._strangers: dict[Hashable, _Stranger] = {}  # the one that has been there longest is first
        self._friends: dict[Hashable, str] = {}
        self._per_peer: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._strangers) + len(self._friends)

    def arrived(self, key: Hashable, peer: str, now: float) -> list[Hashable]:
        """A new connection; who has to go for it, and is forgotten. It may be the new one."""
        self._add(key, peer, now + HEAD_S)
        if self._per_peer[peer] > STRANGERS_PER_PEER_MAX:
            first = next(each for each, stranger in self._strangers.items() if stranger.peer == peer)
        elif len(self) > CONNECTIONS_MAX:
            first = next(iter(self._strangers))
        else:
            return []
        self._remove(first)
        return [first]

    def asked(self, key: Hashable, now: float) -> None:
        """The head of a request is whole."""
        if key in self._strangers:
            self._strangers[key].until = now + ANSWER_S

    def admitted(self, key: Hashable) -> None:
        """The request has shown a token that may do what it asks."""
        if key in self._strangers:
            self._friends[key] = self._remove(key)

    def answered(self, key: Hashable, now: float) -> None:
        """The answer is over; another request may follow."""
        peer = self._friends.pop(key, None)
        if peer is not None or key in self._strangers:
            self._add(key, peer if peer is not None else self._remove(key), now + HEAD_S)

    def left(self, key: Hashable) -> None:
        """The connection is closed."""
        if self._friends.pop(key, None) is None and key in self._strangers:
            self._remove(key)

    def late(self, now: float) -> list[Hashable]:
        """Who has to go because nothing came of it in time, and is forgotten."""
        found = [key for key, stranger in self._strangers.items() if stranger.until <= now]
        for key in found:
            self._remove(key)
        return found

    def _add(self, key: Hashable, peer: str, until: float) -> None:
        self._strangers[key] = _Stranger(peer, until)
        self._per_peer[peer] += 1

    def _remove(self, key: Hashable) -> str:
        peer = self._strangers.pop(key).peer
        self._per_peer[peer] -= 1
        if not self._per_peer[peer]:
            del self._per_peer[peer]
        return peer
