"""What all connections of a gateway share in HTTP: its reader, known heads, and the beginning of most replies. Pure."""

from turnout.gateway.http1.heads import KnownHeads
from turnout.gateway.http1.reading import HttpReader
from turnout.gateway.site import Site


class Shared:
    """One for each gateway."""

    __slots__ = ("date", "heads", "host", "ok_head", "reader", "site")

    def __init__(self, site: Site, reader: HttpReader) -> None:
        self.site = site
        self.reader = reader
        self.heads = KnownHeads(site.core)
        self.host = b""  #: The Host header that was found right last: most requests have the same one.
        self.set_time(0.0, b"")

    def set_time(self, now: float, date: bytes) -> None:
        """Set the gateway's coarse clock, and the Date header."""
        self.site.now = now
        self.date = date
        self.ok_head = b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: " % date
