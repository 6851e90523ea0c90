"""Talks to control's API, for the command line. Blocking; every failure is a TurnoutError of one line."""

import http.client
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from turnout.control import package
from turnout.control.view import JobView
from turnout.errors import JobFolderError, ServerError, TurnoutError, UsageError
from turnout.messages import GatewayCounters

TIMEOUT_S = 10.0
SUBMIT_TIMEOUT_S = 120.0  #: The server reads and checks the folder before it answers.
BACKUP_TIMEOUT_S = 120.0  #: The server copies or checks the whole journal before it answers.
CHUNK_BYTES = 1 << 20

T = TypeVar("T")


class ControlClient:
    """One server's API, named by its URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        if parts.scheme != "http" or not parts.hostname:
            raise TurnoutError(f'"{url}" is no server; give its API like http://127.0.0.1:8711')
        self.url = f"http://{parts.netloc}"
        self._host = parts.hostname
        try:
            self._port = parts.port or 80
        except ValueError:
            raise TurnoutError(f'"{url}" has no port that there can be') from None

    def healthy(self) -> bool:
        """Whether the API answers and a gateway has reported to it."""
        try:
            found = self._json("GET", "/healthz", dict[str, Any], timeout_s=1.0)
        except ServerError:
            return False
        return bool(found.get("gateways"))

    def jobs(self) -> list[JobView]:
        """The jobs submitted last, newest first, without their status."""
        return self._json("GET", "/api/jobs", list[JobView])

    def job(self, job_id: str) -> JobView:
        """A job with its status."""
        return self._json("GET", f"/api/jobs/{quote(job_id, safe='')}", JobView)

    def gateways(self) -> list[GatewayCounters]:
        """What each gateway has done."""
        return self._json("GET", "/api/gateways", list[GatewayCounters])

    def submit(self, folder: Path) -> JobView:
        """Send a job folder. Raises JobFolderError when the server, or packing, finds it wrong."""
        with tempfile.TemporaryFile() as packed:
            package.pack(folder, packed)
            headers = {"Content-Type": "application/zip", "Content-Length": str(packed.tell())}
            packed.seek(0)
            return self._json("POST", "/api/jobs", JobView, packed, headers, SUBMIT_TIMEOUT_S)

    def abort(self, job_id: str) -> JobView:
        """End a job; it is over when its state says so."""
        return self._post(job_id, "abort")

    def resume(self, job_id: str) -> JobView:
        """Let a paused job go on."""
        return self._post(job_id, "resume")

    def model(self, job_id: str, target: Path) -> int:
        """Save the newest model; its version. The file appears whole or not at all."""
        return self._download(job_id, "model", target, TIMEOUT_S)

    def backup(self, job_id: str, target: Path) -> int:
        """Save a copy of the job's journal; the model version in it. The file appears whole or not at all."""
        return self._download(job_id, "backup", target, BACKUP_TIMEOUT_S)

    def restore(self, job_id: str, backup: Path) -> JobView:
        """Let a job that has ended go on from a backup."""
        path = f"/api/jobs/{quote(job_id, safe='')}/restore"
        try:
            with backup.open("rb") as file:
                headers = {"Content-Type": "application/vnd.sqlite3", "Content-Length": str(backup.stat().st_size)}
                return self._json("POST", path, JobView, file, headers, BACKUP_TIMEOUT_S)
        except FileNotFoundError:
            raise UsageError(f"{backup}: no such file; give one that turnout backup has written") from None

    def _download(self, job_id: str, what: str, target: Path, timeout_s: float) -> int:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(target.name + ".unfinished")
        call = self._call("GET", f"/api/jobs/{quote(job_id, safe='')}/{what}", timeout_s=timeout_s)
        with call as response, unfinished.open("wb") as file:
            try:
                shutil.copyfileobj(response, file, CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise ServerError(f"the download from {self.url} broke off: {error}") from error
            version = int(response.headers.get("X-Model-Version", "0"))
        unfinished.replace(target)
        return version

    def _post(self, job_id: str, what: str) -> JobView:
        headers = {"Content-Type": "application/json"}
        return self._json("POST", f"/api/jobs/{quote(job_id, safe='')}/{what}", JobView, None, headers)

    def _json(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: BinaryIO | None = None,
        headers: dict[str, str] | None = None,
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
        body: BinaryIO | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Iterator[http.client.HTTPResponse]:
        """The response of a request that went well, on a connection of its own."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        with closing(connection):
            try:
                connection.request(method, path, body, {"Connection": "close", **(headers or {})})
                response = connection.getresponse()
            except ConnectionRefusedError:
                raise ServerError(f"nothing answers at {self.url}; start a server with: turnout up") from None
            except (OSError, http.client.HTTPException) as error:
                raise ServerError(f"{self.url} does not answer: {error or type(error).__name__}") from error
            with response:
                if response.status >= 400:
                    raise _refusal(response, self.url)
                yield response


def _refusal(response: http.client.HTTPResponse, url: str) -> TurnoutError:
    """The problem details of a refused request, as the error it was."""
    try:
        detail = str(msgspec.json.decode(response.read(1 << 16))["detail"])
    except (OSError, http.client.HTTPException, msgspec.DecodeError, KeyError, TypeError):
        return ServerError(f"{url} answered {response.status} {response.reason}; is it the API of turnout?")
    return JobFolderError(detail) if response.status == 422 else ServerError(detail)
