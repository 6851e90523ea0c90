"""The files of examples/deploy: nginx with TLS before a real server, and the unit as systemd reads it."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from safetensors.numpy import save

from tests.end_to_end.server import PATIENCE_S, Server, eventually, server

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PARAMETERS = 20_000  #: Too many for a result that is read before the job was asked.
JSON = {"X-Flare-Device-ID": "device-1", "Content-Type": "application/json"}
BINARY = {**JSON, "Content-Type": "application/vnd.safetensors"}
needs_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx on this machine; .ci/run installs it")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class NamedConnection(http.client.HTTPSConnection):
    """To a port of this machine, by the name that its certificate has."""

    def __init__(self, name: str, port: int, trust: ssl.SSLContext) -> None:
        super().__init__(name, timeout=PATIENCE_S)
        self._to, self._trust = port, trust

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self._to), self.timeout)
        self.sock = self._trust.wrap_socket(plain, server_hostname=self.host)


class Proxy:
    """nginx with the configuration of the example; only ports, certificates and folders are others."""

    def __init__(self, folder: Path, devices_url: str, api_url: str) -> None:
        folder.mkdir()
        self.port = free_port()
        authority = trustme.CA()
        issued = authority.issue_cert("devices.example.org", "turnout.example.org")
        issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
        self._trust = ssl.create_default_context()
        authority.configure_trust(self._trust)
        site = (DEPLOY / "nginx.conf").read_text()
        for found, put in (
            (r"listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
            (r"127\.0\.0\.1:8710", devices_url.removeprefix("http://")),
            (r"127\.0\.0\.1:8711", api_url.removeprefix("http://")),
            (r"/etc/ssl/turnout/\w+\.(crt|key)", str(folder / "both.pem")),
            (r"/var/cache/nginx/turnout", str(folder / "cache")),
        ):
            assert re.search(found, site), found
            site = re.sub(found, put, site)
        (folder / "site.conf").write_text(site)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        user = "user root;" if os.geteuid() == 0 else ""  # whom the folders of the test belong to
        (folder / "nginx.conf").write_text(
            f"{user} daemon off; master_process off; pid {folder / 'pid'}; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {' '.join(f'{kind}_temp_path {folder / kind};' for kind in kinds)}\n"
            f"include {folder / 'site.conf'}; }}\n"
        )
        self.command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        self.kept_models = folder / "cache"

    def listens(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(
        self, path: str, headers: dict[str, str], body: bytes | None = None, name: str = "devices.example.org"
    ) -> tuple[int, bytes]:
        """Status and body of the answer to a POST, or without a body to a GET."""
        with closing(NamedConnection(name, self.port, self._trust)) as connection:
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def edge(self, path: str, body: bytes, headers: dict[str, str] = JSON) -> dict[str, Any]:
        """The answer to a device."""
        status, answer = self.ask(path, headers, body)
        assert status == 200, answer
        decoded: dict[str, Any] = json.loads(answer)
        return decoded


@contextmanager
def proxy(folder: Path, running: Server) -> Iterator[Proxy]:
    made = Proxy(folder, running.devices_url, running.api_url)
    process = subprocess.Popen(made.command)
    try:
        eventually("nginx listens", made.listens)
        yield made
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def job(folder: Path) -> Path:
    folder.mkdir()
    (folder / "job.toml").write_text(
        'name = "large"\n[training]\nworkflow = "buffered"\nbuffer_goal = 1\nresults_min = 1\n[stop]\nversions = 9\n'
    )
    model = f'import numpy as np\n\n\ndef initial_model():\n    return {{"w": np.zeros({PARAMETERS}, np.float32)}}\n'
    (folder / "model.py").write_text(model)
    return folder


@needs_nginx
def test_nginx_takes_the_example(tmp_path: Path) -> None:
    made = Proxy(tmp_path / "nginx", "http://127.0.0.1:1", "http://127.0.0.1:2")
    tried = subprocess.run([*made.command, "-t"], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert tried.returncode == 0, tried.stderr


@needs_nginx
def test_a_device_trains_through_nginx(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running, proxy(tmp_path / "nginx", running) as front:
        job_id = running.client.submit(job(tmp_path / "job")).job_id
        assert front.edge("/job", b'{"job_name": "large", "capabilities": {"methods": []}}')["job_id"] == job_id
        ask = f"/task?job_id={job_id}"
        task = eventually(
            "a task", lambda: (got := front.edge(ask, b'{"accept": ["safetensors"]}')).get("task_id") and got
        )
        href = task["task_data"]["href"]
        status, model = front.ask(href, {})
        assert (status, len(model)) == (200, task["task_data"]["bytes"])
        assert [file for file in front.kept_models.rglob("*") if file.is_file()], "nginx keeps the model for others"
        assert front.ask(href, {"Range": "bytes=8-15"}) == (206, model[8:16])
        update = save({"w": np.full(PARAMETERS, 0.5, np.float32)})
        result = f"/result?job_id={job_id}&task_name=train&task_id="
        assert front.edge(result + "made-up", update, BINARY)["status"] == "NO_TASK"
        assert front.edge(result + task["task_id"], update, BINARY)["counted"]
        assert front.edge(result + task["task_id"], update, BINARY)["duplicate"]
        assert front.ask("/healthz", {})[0] == 404, "what a gateway has counted is not for everybody"


@needs_nginx
def test_people_need_a_token_through_nginx(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running, proxy(tmp_path / "nginx", running) as front:
        people = "turnout.example.org"
        bearer = {"Authorization": f"Bearer {running.client.create_token('me', 'view').token}"}
        assert front.ask("/api/jobs", {}, name=people)[0] == 401
        assert front.ask("/api/jobs", bearer, name=people) == (200, b"[]")
        page = {**bearer, "Host": f"{people}:{front.port}", "Origin": f"https://{people}:{front.port}"}
        assert front.ask("/api/jobs", page, name=people) == (200, b"[]"), "the dashboard's own requests"
        assert front.ask("/api/jobs", {**page, "Origin": f"https://{people}"}, name=people)[0] == 403


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = (DEPLOY / "turnout.service").read_text()
    assert "/opt/turnout/bin/turnout" in unit
    (tmp_path / "turnout.service").write_text(unit.replace("/opt/turnout/bin/turnout", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "turnout.service")]
    verified = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (verified.returncode, verified.stderr) == (0, "")
