"""How often each peer may send a wrong token: pure, in a table of a fixed size.

Nobody guesses 256 random bits, however often they may try; what is spared is the work, and the log of a proxy.
"""

import ipaddress
from collections import OrderedDict

BURST = 10  #: Wrong tokens that a peer may send at once.
PER_S = 1.0  #: And in the long run.
PEERS_MAX = 4096  #: Peers in the table; beyond them the one that failed longest ago is forgotten.


def peer_of(address: str) -> str:
    """Whom an address stands for: in IPv6 a whole /64, since every machine has one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False))


class Failures:
    """A bucket of failures for each peer, which refills."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many are left, and when that was

    def failed(self, peer: str, now: float) -> None:
        """It has sent a wrong token."""
        left = self._now_left(peer, now)
        self._left[peer] = (max(left - 1.0, 0.0), now)
        self._left.move_to_end(peer)
        if len(self._left) > PEERS_MAX:
            self._left.popitem(last=False)

    def wait_s(self, peer: str, now: float) -> float:
        """How long until it may fail again; 0 when it may now."""
        return max(0.0, (1.0 - self._now_left(peer, now)) / PER_S)

    def _now_left(self, peer: str, now: float) -> float:
        left, at = self._left.get(peer, (float(BURST), now))
        return min(float(BURST), left + max(0.0, now - at) * PER_S)
