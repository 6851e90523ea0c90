"""``turnout up`` where devices come by HTTPS and by gRPC, with gateways and certificates that are replaced."""

import json
import os
import re
import signal
import ssl
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # we start processes
import grpc
import pytest
import trustme

from tests.end_to_end.device import SIZE, job_folder
from tests.end_to_end.server import Server, eventually, server
from tests.unit.wire.edge_messages import Reply, Request

pytestmark = pytest.mark.slow


UPDATE = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1.0] * SIZE}, "count": 1}, "meta": {}}
METHODS = {"capabilities": {"methods": ["numpy"]}}


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    renew(made, tmp_path)
    return made


def renew(authority: trustme.CA, folder: Path) -> None:
    issued = authority.issue_cert("127.0.0.1")
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))


def options(folder: Path) -> list[str]:
    return ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"), "--grpc-port", "0"]


class Caller:
    """A device by gRPC, which makes a connection for each request, as FLARE's proxy does."""

    def __init__(self, running: Server, authority: trustme.CA, device_id: str) -> None:
        self._id = device_id
        found = re.search(r"connect to (\S+), with TLS", running.wait_line("gRPC clients"))
        assert found is not None
        self._address = found[1]
        self._credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        payload = {"device_info": {"device_id": self._id}, "user_info": None, **fields}
        message = Request(type=kind, method="POST", header=b"0", payload=json.dumps(payload).encode())
        alone = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(self._address, self._credentials, alone) as channel:
            query = channel.unary_unary("/edgeapi.EdgeApi/Query")
            reply = Reply.FromString(query(message.SerializeToString(), timeout=20, wait_for_ready=True))
        assert reply.status == "OK"
        answer: dict[str, Any] = json.loads(reply.payload)
        return answer

    def work(self, job_id: str) -> bool:
        """One task, if there is one now; whether its result was counted."""
        task = self.ask("TaskRequest", job_id=job_id)
        if task["status"] != "OK":
            return False
        assert len(task["task_data"]["data"]["w"]) == SIZE
        about = {"task_id": task["task_id"], "task_name": "train", "status": "OK", "cookie": task["cookie"]}
        return bool(self.ask("ResultReport", job_id=job_id, result=UPDATE, **about)["counted"])


def secure(running: Server, authority: trustme.CA) -> HTTPSConnection:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    connection = HTTPSConnection("127.0.0.1", running.port, context=context, timeout=20)
    connection.connect()
    return connection


def healthy(connection: HTTPSConnection) -> bool:
    connection.request("GET", "/healthz")
    return json.loads(connection.getresponse().read())["status"] == "ok"


def serial(connection: HTTPSConnection) -> object:
    return connection.sock.getpeercert()["serialNumber"]


def test_devices_train_by_grpc_while_gateways_are_replaced(tmp_path: Path, authority: trustme.CA) -> None:
    with server(tmp_path / "data", gateways=2, options=options(tmp_path)) as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        before, after = Caller(running, authority, "before"), Caller(running, authority, "after")
        assert eventually("the job is offered", lambda: before.ask("JobRequest", job_name="tiny", **METHODS)["job_id"])
        eventually("a result is counted", lambda: before.work(job.job_id))
        running.process.send_signal(signal.SIGUSR1)
        running.wait_line("every gateway has been replaced")
        eventually("a result is counted by others", lambda: after.work(job.job_id))


def test_a_certificate_is_renewed_by_replacing_its_files(tmp_path: Path, authority: trustme.CA) -> None:
    with server(tmp_path / "data", options=options(tmp_path)) as running:
        before = secure(running, authority)
        assert healthy(before)
        renew(authority, tmp_path)
        running.wait_line("has a new certificate")
        assert healthy(before)
        after = secure(running, authority)
        assert healthy(after)
        assert serial(after) != serial(before)
        assert Caller(running, authority, "d1").ask("JobRequest", job_name="none", **METHODS)["status"] == "NO_JOB"
        before.close()
        after.close()


def test_an_address_that_others_reach_without_tls_is_warned_of(tmp_path: Path) -> None:
    with server(tmp_path / "data", options=["--host", "0.0.0.0"]) as running:
        line = running.wait_line("warning: ")
        assert "crosses the network in the clear; give --tls-cert and --tls-key" in line


def test_an_api_that_others_reach_is_warned_of_and_needs_no_token_made_before(tmp_path: Path) -> None:
    with server(tmp_path / "data", options=["--control-host", "0.0.0.0"]) as running:
        running.wait_line("warning: tokens for the API, and all that it answers, cross the network in the clear")
        assert running.client.jobs() == []


def test_a_port_for_grpc_that_another_server_has_is_refused(tmp_path: Path) -> None:
    with server(tmp_path / "one", options=["--grpc-port", "0"]) as running:
        found = re.search(r"connect to \S+:(\d+), without TLS", running.wait_line("gRPC clients"))
        assert found is not None
        with (
            pytest.raises(AssertionError, match="choose another with --grpc-port"),
            server(tmp_path / "two", options=["--grpc-port", found[1]]),
        ):
            pass
