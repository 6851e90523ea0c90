"""Talks to control's API, for the command line. Blocking; every failure is a TurnoutError of one line."""

import http.client
import ssl
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from turnout.client.servers import DEFAULT_URL
from turnout.client.view import Alive, Health, History, JobView, NewLink, TokenView
from turnout.errors import (
    JobFolderError,
    NotAllowedError,
    NotFoundError,
    ServerError,
    TurnoutError,
    UnreachableError,
    UsageError,
)
from turnout.job.folder import package
from turnout.job.folder.package import Progress, no_progress
from turnout.messages import GatewayCounters
from turnout.storage.durable import whole
from turnout.text.given import check_word

TIMEOUT_S = 10.0
SUBMIT_TIMEOUT_S = 120.0  #: The server reads and checks the folder before it answers.
BACKUP_TIMEOUT_S = 120.0  #: The server copies or checks the whole journal before it answers.
EVENTS_TIMEOUT_S = 15.0  #: A server that sends events sends a sample every second.
CHUNK_BYTES = 1 << 18
JSON = "application/json"

T = TypeVar("T")


class StreamedEvent(NamedTuple):
    """One event of a stream: its ``kind``, its data as JSON, and the ``id`` to continue after."""

    kind: str
    data: bytes
    id: str


class _Watched:
    """A file whose reader is watched."""

    def __init__(self, file: BinaryIO, total: int, progress: Progress) -> None:
        self._file = file
        self._total = total
        self._progress = progress

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._file.read(size)
        self._progress(self._file.tell(), self._total)
        return chunk


Body = _Watched | bytes | None


class ControlClient:
    """One server's API, named by its URL. ``servers.resolve`` finds both for servers of this account."""

    def __init__(self, url: str, token: str = "") -> None:
        check_word("the address", url)
        check_word("the token", token, secret=True)
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f'"{url}" is not a server URL; expected is one like {DEFAULT_URL}')
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._path = parts.path.rstrip("/")
        if not token.isascii() or not token.isprintable():
            raise UsageError("invalid token: it may hold printable ASCII only")
        self._token = token
        try:
            self._port = parts.port or (443 if self._secure else 80)
        except ValueError:
            raise UsageError(f'invalid port in "{url}"') from None

    def healthy(self) -> bool:
        """Whether the API answers and a gateway has reported to it. Raises NotAllowedError without a good token."""
        try:
            found = self._json("GET", "/api/health", Health, timeout_s=1.0)
        except NotAllowedError:
            raise
        except ServerError:
            return False
        return found.gateways > 0

    def alive(self) -> bool:
        """Whether the API of a turnout answers there; needs no token."""
        try:
            return self._json("GET", "/healthz", Alive, timeout_s=1.0).status == "ok"
        except ServerError:
            return False

    def link(self) -> str:
        """A link to the dashboard, which works once."""
        made = self._json("POST", "/api/links", NewLink, None, {"Content-Type": JSON})
        return dashboard_link(self.url, made.code)

    def jobs(self) -> list[JobView]:
        """The jobs submitted last, newest first, each with what it said last, in short."""
        return self._json("GET", "/api/jobs", list[JobView])

    def job(self, job_id: str) -> JobView:
        """A job with its status."""
        return self._json("GET", _job(job_id), JobView)

    def gateways(self) -> list[GatewayCounters]:
        """What each gateway has done."""
        return self._json("GET", "/api/gateways", list[GatewayCounters])

    def submit(
        self,
        folder: Path,
        progress: Progress = no_progress,
        packing: Progress = no_progress,
        left_out: Callable[[str], object] = lambda line: None,
    ) -> JobView:
        """Pack and send a job folder; ``left_out`` is told each line about files that stay here.

        Raises JobFolderError when the server, or packing, finds it wrong.
        """
        with tempfile.TemporaryFile() as packed:
            for line in package.pack(folder, packed, packing):
                left_out(line)
            num_bytes = packed.tell()
            packed.seek(0)
            headers = {"Content-Type": "application/zip", "Content-Length": str(num_bytes)}
            body = _Watched(packed, num_bytes, progress)
            return self._json("POST", "/api/jobs", JobView, body, headers, SUBMIT_TIMEOUT_S)

    def cancel(self, job_id: str) -> JobView:
        """End a job before its stop rule does; it has ended when its state says so."""
        try:
            return self._post(job_id, "cancel")
        except NotFoundError:  # servers of 0.1 know it by its former name; they are understood for one release
            return self._post(job_id, "abort")

    def pause(self, job_id: str) -> JobView:
        """Give out no more tasks of a job; results still count."""
        return self._post(job_id, "pause")

    def resume(self, job_id: str) -> JobView:
        """Resume a paused job."""
        return self._post(job_id, "resume")

    def start(self, job_id: str) -> JobView:
        """Continue a job that was cancelled or has failed from its journal."""
        return self._post(job_id, "start")

    def delete(self, job_id: str) -> None:
        """Remove all that is kept of a job that has ended."""
        with self._call("DELETE", _job(job_id), headers={"Content-Type": JSON}) as response:
            response.read()

    def logs(self, job_id: str, lines: int) -> list[str]:
        """The last lines that the job's process printed."""
        with self._call("GET", f"{_job(job_id)}/logs?{urlencode({'lines': lines})}") as response:
            return response.read().decode("utf-8", "replace").splitlines()

    def model(
        self,
        job_id: str,
        target: Path,
        version: str = "",
        form: str = "safetensors",
        progress: Progress = no_progress,
    ) -> int:
        """Save a model, and return its version.

        ``version`` is "newest", "best" or a number; empty: the best where a metric says which that is, else the newest.

        The file appears whole or not at all.
        """
        asked = urlencode({"format": form} | ({"version": version} if version else {}))
        return self._download(f"{_job(job_id)}/model?{asked}", target, TIMEOUT_S, progress)

    def backup(self, job_id: str, target: Path, progress: Progress = no_progress) -> int:
        """Save a copy of the job's journal; the model version in it.

        The file appears whole or not at all, and outlasts a power failure from then on.
        """
        return self._download(f"{_job(job_id)}/backup", target, BACKUP_TIMEOUT_S, progress)

    def restore(self, job_id: str, backup: Path, progress: Progress = no_progress) -> JobView:
        """Continue a job that has ended from a backup."""
        try:
            with backup.open("rb") as file:
                num_bytes = backup.stat().st_size
                headers = {"Content-Type": "application/vnd.sqlite3", "Content-Length": str(num_bytes)}
                body = _Watched(file, num_bytes, progress)
                return self._json("POST", f"{_job(job_id)}/restore", JobView, body, headers, BACKUP_TIMEOUT_S)
        except FileNotFoundError:
            raise UsageError(f"{backup}: no such file; give one that turnout backup has written") from None
        except OSError as error:
            raise UsageError(f"{backup} cannot be read: {error.strerror}") from None

    def history(self, job_id: str) -> History:
        """What happened to a job so far, and where its events continue."""
        return self._json("GET", f"{_job(job_id)}/history", History)

    def tokens(self) -> list[TokenView]:
        """All tokens, oldest first, without the tokens themselves."""
        return self._json("GET", "/api/tokens", list[TokenView])

    def create_token(self, name: str, scope: str) -> TokenView:
        """A new token; the answer is the only one that holds it."""
        body = msgspec.json.encode({"name": name, "scope": scope})
        return self._json("POST", "/api/tokens", TokenView, body, {"Content-Type": JSON})

    def revoke_token(self, token_id: str) -> None:
        """Make a token useless at once."""
        with self._call("DELETE", f"/api/tokens/{quote(token_id, safe='')}", None, {"Content-Type": JSON}) as response:
            response.read()

    def events(self, job_id: str, after: str = "") -> Iterator[StreamedEvent]:
        """What happens to a job, as it happens; from the event on that came after the one with the id ``after``."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        with self._call("GET", f"{_job(job_id)}/events", headers=headers, timeout_s=EVENTS_TIMEOUT_S) as response:
            try:
                yield from streamed(response)
            except (OSError, http.client.HTTPException) as error:
                raise UnreachableError(f"the event stream from {self.url} was interrupted: {error}") from error

    def _download(self, path: str, target: Path, timeout_s: float, progress: Progress) -> int:
        with self._call("GET", path, timeout_s=timeout_s) as response:
            total = int(response.headers.get("Content-Length") or 0)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with whole(target) as file:
                    for chunk in self._chunks(response):
                        file.write(chunk)
                        progress(file.tell(), total)
            except OSError as error:
                raise UsageError(f"{target} cannot be written: {error.strerror}") from error
            return int(response.headers.get("X-Model-Version", "0"))

    def _chunks(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            while chunk := response.read(CHUNK_BYTES):
                yield chunk
            if response.length:
                raise ServerError(
                    f"the download from {self.url} was interrupted {response.length} bytes before its end"
                )
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"the download from {self.url} was interrupted: {error}") from error

    def _post(self, job_id: str, what: str) -> JobView:
        headers = {"Content-Type": JSON}
        return self._json("POST", f"{_job(job_id)}/{what}", JobView, None, headers)

    def _json(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> T:
        with self._call(method, path, body, headers, timeout_s) as response:
            try:
                return msgspec.json.decode(response.read(), type=kind)
            except (OSError, http.client.HTTPException, msgspec.DecodeError, msgspec.ValidationError) as error:
                raise ServerError(f"{self.url} did not answer as turnout does: {error}") from error

    @contextmanager
    def _call(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Iterator[http.client.HTTPResponse]:
        """The response of a request that went well, on a connection of its own."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=timeout_s, blocksize=CHUNK_BYTES)
        sent = {"Connection": "close", **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        with closing(connection):
            try:
                try:
                    connection.request(method, self._path + path, body, sent)
                except (BrokenPipeError, ConnectionResetError):  # who refuses does not read on, and has said why
                    if connection.sock is None:
                        raise
                response = connection.getresponse()
            except ConnectionRefusedError:
                raise UnreachableError(f"nothing answers at {self.url}; start a server with: turnout up") from None
            except ssl.SSLCertVerificationError as error:
                raise UnreachableError(
                    f"the certificate of {self.url} is not trusted: {error.verify_message}; "
                    "where it is one of your own, name its authority's file in SSL_CERT_FILE"
                ) from error
            except ssl.SSLError as error:
                raise UnreachableError(f"{self.url} does not speak TLS ({error.reason}); try http://") from error
            except (OSError, http.client.HTTPException) as error:
                raise UnreachableError(
                    f"{self.url} does not answer: {error or type(error).__name__}; does it run?"
                ) from error
            with response:
                if response.status >= 400:
                    raise _refusal(response, self.url)
                yield response


def dashboard_link(url: str, code: str) -> str:
    """Where a browser opens the dashboard. What follows # is sent to no server and stands in no log."""
    return f"{url}/#/login/{code}"


def _job(job_id: str) -> str:
    return f"/api/jobs/{quote(job_id, safe='')}"


def streamed(lines: Iterable[bytes]) -> Iterator[StreamedEvent]:
    """The events of a text/event-stream; each has one line of data."""
    kind, data, last = "message", b"", ""
    for raw in lines:
        line = raw.rstrip(b"\r\n")
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if data or kind != "message":
                yield StreamedEvent(kind, data, last)
            kind, data = "message", b""
        elif name == b"event":
            kind = value.decode()
        elif name == b"data":
            data = value
        elif name == b"id":
            last = value.decode()


def _refusal(response: http.client.HTTPResponse, url: str) -> TurnoutError:
    """The problem details of a refused request, as the error it was."""
    kind = _KINDS.get(response.status, ServerError)
    try:
        return kind(str(msgspec.json.decode(response.read(1 << 16))["detail"]))
    except (OSError, http.client.HTTPException, msgspec.DecodeError, KeyError, TypeError):
        return kind(
            f"{url} answered {response.status} {response.reason}; is it the API of turnout? turnout up prints it"
        )


_KINDS: dict[int, type[TurnoutError]] = {
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    422: JobFolderError,
}
