"""The certificate that a server shows to devices: read from PEM files, and read again when these change."""

import ssl
from pathlib import Path

from turnout.errors import TurnoutError

LOOK_S = 5.0  #: How often to look whether the files have changed: a stat of each.
ALPN = ("http/1.1",)

_CERTIFICATE, _KEY, _ENCRYPTED = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----", b"ENCRYPTED"
_MISMATCH = "KEY_VALUES_MISMATCH"

Stamp = tuple[tuple[int, int, int] | None, ...]


class BadCertificate(TurnoutError):
    """The files are no certificate and its key."""


class Loaded:
    """A certificate with its key, as TLS takes them, and as they stand in the files."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Read both. Raises BadCertificate."""
        self.chain = _read(cert, "--tls-cert")
        self.key = _read(key, "--tls-key")
        if _CERTIFICATE not in self.chain:
            raise BadCertificate(f"--tls-cert {cert} holds no certificate in PEM form")
        if _KEY not in self.key:
            raise BadCertificate(f"--tls-key {key} holds no private key in PEM form")
        if _ENCRYPTED in self.key:
            raise BadCertificate(f"--tls-key {key} is encrypted; store it without a password, readable by you alone")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(list(ALPN))
        try:
            self.context.load_cert_chain(cert, key, password="")
        except ssl.SSLError as error:
            if error.reason == _MISMATCH:
                raise BadCertificate(f"--tls-key {key} is not the key of --tls-cert {cert}") from None
            raise BadCertificate(f"--tls-cert {cert} and --tls-key {key} cannot be read: {error.reason}") from None
        except OSError as error:
            raise BadCertificate(f"--tls-cert {cert} and --tls-key {key} cannot be read: {error.strerror}") from None

    def is_same(self, other: "Loaded") -> bool:
        """Whether the files held the same."""
        return (self.chain, self.key) == (other.chain, other.key)


class Certificate:
    """A certificate that may be replaced while it is in use: what connects later sees the new one."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Raises BadCertificate."""
        self.cert = cert
        self._key = key
        self._stamp = self._look_at_files()
        self._complaint = ""
        self.loaded = Loaded(cert, key)
        #: For a listening socket. It gives each handshake the context of the certificate of that moment.
        self.context = self.loaded.context
        self.context.sni_callback = self._choose

    def look(self) -> str:
        """Read the files again if they have changed; a line for people if that came to something."""
        stamp = self._look_at_files()
        if stamp == self._stamp:
            return ""
        try:
            loaded = Loaded(self.cert, self._key)
        except BadCertificate as error:
            return self._complain(f"the certificate in use stays, for the new one is not good: {error}")
        if stamp != self._look_at_files():
            return ""  # they are being written: look again
        self._stamp, self._complaint = stamp, ""
        if loaded.is_same(self.loaded):
            return ""
        self.loaded = loaded
        return f"{self.cert} has a new certificate; devices that connect from now on see it"

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self.loaded.context

    def _complain(self, line: str) -> str:
        """The line, unless it was the last one."""
        before, self._complaint = self._complaint, line
        return "" if line == before else line

    def _look_at_files(self) -> Stamp:
        return tuple(_stamp(path) for path in (self.cert, self._key))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadCertificate(f"{option} {path} cannot be read: {error.strerror}") from None
