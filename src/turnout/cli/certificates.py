"""What a certificate says of itself, as ``turnout doctor`` tells it."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from turnout.cli.findings import Finding
from turnout.transport.certificate import BadCertificate, Loaded

DAYS_LEFT_MIN = 14
STEPS_MAX = 6  #: Of a handshake: each side speaks twice or three times.
_DAY_S = 86_400.0
_NAME = "certificate"
_RENEW = "renew it; gateways take the new files by themselves"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client sees. ``problem`` says why a client takes it from nobody, whatever it trusts."""

    names: tuple[str, ...] = ()
    ends: float = 0.0  #: Seconds since 1970.
    problem: str = ""


def examine(cert: Path, key: Path, now: float) -> Finding:
    """Whether the files are good, and for how long still."""
    try:
        loaded = Loaded(cert, key)
    except BadCertificate as error:
        return Finding(_NAME, False, str(error), "gateways cannot start with them")
    return judge(cert, shake_hands(loaded), now)


def judge(cert: Path, shown: Shown, now: float) -> Finding:
    """Whether devices will continue to accept it."""
    if shown.problem:
        return Finding(_NAME, False, f"{cert} is refused by devices: {shown.problem}", _RENEW)
    until = f"{datetime.fromtimestamp(shown.ends, UTC):%Y-%m-%d}"
    found = f"{cert} is for {', '.join(shown.names) or 'nobody'}, until {until}"
    if not shown.names:
        return Finding(_NAME, False, found, "it needs the names of this server as subjectAltName")
    if shown.ends - now < DAYS_LEFT_MIN * _DAY_S:
        return Finding(_NAME, False, found, _RENEW)
    return Finding(_NAME, True, found)


def shake_hands(loaded: Loaded) -> Shown:
    """A TLS handshake in memory, with a client that trusts what the file holds: so TLS itself is the judge."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = False
    ours.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    ours.load_verify_locations(cadata=loaded.chain.decode("ascii", "ignore"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(to_client, to_server)
    server = loaded.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(STEPS_MAX):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass  # it waits for the other
            except ssl.SSLCertVerificationError as error:
                return Shown(problem=error.verify_message)
    found = client.getpeercert() or {}
    names = tuple(str(entry[1]) for entry in found.get("subjectAltName", ()))
    return Shown(names, ssl.cert_time_to_seconds(str(found["notAfter"])))
