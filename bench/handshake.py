"""What a TLS handshake costs in OpenSSL alone, both sides in this process and in memory: no socket, no event loop."""

import ssl
import time
from pathlib import Path

TIMES = 500
FLIGHTS_MAX = 10  #: Of one handshake.


def seconds(cert: Path, key: Path) -> float:
    """CPU of one full handshake, of client and server together."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    client = ssl.create_default_context(cafile=cert)
    began = time.process_time()
    for _ in range(TIMES):
        _shake(client, server)
    return (time.process_time() - began) / TIMES


def _shake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    both = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(FLIGHTS_MAX):
        both = [side for side in both if not _done(side)]
        if not both:
            return
    raise AssertionError("a handshake takes two flights of each side")


def _done(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
