"""How long nobody answers after a kill: asks again and again until somebody does."""

import http.client
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

POLL_S = 0.01
TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Lasted:
    """One outage: from its first kill to the first request that was answered after the last of its ``kills``."""

    seconds: float
    kills: int


class Outage:
    """The outages of one role."""

    def __init__(self, is_answered: Callable[[], bool]) -> None:
        """``is_answered`` sends one request that this role must answer."""
        self.lasted: list[Lasted] = []
        self._is_answered = is_answered
        self._since: float | None = None
        self._kills = 0
        self._began = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def begins(self, killed_at: float) -> None:
        """A process was killed; where nobody has answered since the last kill, the outage goes on."""
        self._kills += 1
        if self._since is None:
            self._since = killed_at
            self._began.set()

    @property
    def is_over(self) -> bool:
        return self._since is None

    def close(self) -> None:
        self._closed = True
        self._began.set()
        self._thread.join()

    def _watch(self) -> None:
        while self._began.wait() and not self._closed:
            if not self._is_answered():
                time.sleep(POLL_S)
                continue
            assert self._since is not None
            self.lasted.append(Lasted(time.monotonic() - self._since, self._kills))
            self._began.clear()
            self._since, self._kills = None, 0


def gateway_answers(devices_url: str) -> bool:
    """Whether a gateway answers on a new connection."""
    return _ask(devices_url, "GET", "/healthz") is not None


def control_answers(api_url: str) -> bool:
    """Whether control answers on a new connection."""
    return _ask(api_url, "GET", "/healthz") is not None


def job_answers(devices_url: str, job_id: str) -> bool:
    """Whether the job itself answers, through a gateway: who is selected now is known to nobody else."""
    body = _ask(devices_url, "POST", f"/selection?job_id={job_id}", "{}")
    return body is not None and body.get("status") == "OK"


def _ask(url: str, method: str, target: str, body: str | None = None) -> dict[str, object] | None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json", "X-Flare-Device-ID": "probe"}
    with closing(connection):
        try:
            connection.request(method, target, body, headers)
            return msgspec.json.decode(connection.getresponse().read(), type=dict[str, object])
        except (OSError, http.client.HTTPException, msgspec.DecodeError, msgspec.ValidationError):
            return None
