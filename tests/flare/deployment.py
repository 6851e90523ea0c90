"""A whole FLARE, as its own tools provision it: a server and one leaf client, with our widget in it or FLARE's own.

It shares nothing with another FLARE on the machine: FLARE's servers keep their jobs in one folder of the machine unless
they are told another, and each runs what it finds there.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvflare.edge.aggregators.num_dxo_factory import NumDXOAggrFactory
from nvflare.edge.assessors.num import NumAssessor
from nvflare.edge.tools.edge_job import EdgeJob
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from tests.end_to_end.server import eventually

ADMIN = "admin@nvidia.com"
PATIENCE_S = 60.0  #: Until FLARE's processes answer, and a job's; on a busy machine it takes half of that.
COMPLETED = "FINISHED:COMPLETED"
ENDING_S = 20.0  #: How long FLARE's processes may take to end.
PROJECT = """
api_version: 3
name: project
participants:
  - {{name: localhost, type: server, org: nvidia, fed_learn_port: {server}, admin_port: {admin}}}
  - {{name: site-1, type: client, org: nvidia, listening_host: localhost, edge_service_port: {devices}}}
  - {{name: {ADMIN}, type: admin, org: nvidia, role: project_admin}}
builders:
  - path: nvflare.lighter.impl.workspace.WorkspaceBuilder
    args: {{template_file: [master_template.yml]}}
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args: {{config_folder: config, scheme: grpc}}
  - path: nvflare.lighter.impl.cert.CertBuilder
  - path: nvflare.lighter.impl.signature.SignatureBuilder
  - path: nvflare.lighter.impl.edge.EdgeBuilder
"""


class Deployment:
    """Its folders, and where its leaf client listens for devices; ``pids`` are its two parent processes."""

    def __init__(self, root: Path) -> None:
        self._root = root / "workspace" / "project" / "prod_00"
        self._own = root / "own"  #: What FLARE would keep in folders of the machine.
        self._own.mkdir()
        self._ports = [held_port() for _ in range(3)]
        ports = dict(zip(("server", "admin", "devices"), map(port_of, self._ports), strict=True))
        self._server_port, self.port = ports["server"], ports["devices"]
        (root / "project.yml").write_text(PROJECT.format(ADMIN=ADMIN, **ports))
        provision = [sys.executable, "-m", "nvflare.lighter.provision", "-p", "project.yml", "-w", "workspace"]
        subprocess.run(provision, cwd=root, check=True, capture_output=True, timeout=PATIENCE_S)
        for site in ("localhost", "site-1"):
            self._configure(self._root / site / "local")
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def root_ca(self) -> Path:
        """The certificate that devices check the leaf client's by."""
        return self._root / "site-1" / "startup" / "rootCA.pem"

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._running]

    @property
    def log(self) -> str:
        """What the leaf client has logged."""
        return (self._root / "site-1" / "output").read_text()

    def install(self, component: dict[str, object]) -> None:
        """Put the component in the place of the one of its id, as docs/FLARE.md says."""
        path = self._root / "site-1" / "local" / "edge__p_resources.json"
        resources = json.loads(path.read_text())
        places = [place for place, old in enumerate(resources["components"]) if old["id"] == component["id"]]
        (place,) = places
        resources["components"][place] = component
        path.write_text(json.dumps(resources))

    @contextmanager
    def running(self) -> Iterator[Session]:
        """Run server and client; a session of its administrator."""
        session = None
        try:
            self._start("localhost", "server")
            self._start("site-1", "client", "uid=site-1")
            session = eventually("FLARE's server answers and has its client", self._connected, PATIENCE_S)
            yield session
        finally:
            for process in self._running:
                process.terminate()
            for process in self._running:
                self._end(process)
            if session is not None:
                session.close()  # it has threads that would outlive us; after the server, for which it might wait
            for port in self._ports:
                port.close()

    def wait_completed(self, session: Session, job_id: str) -> None:
        """Wait until the job is completed. Says at once when it failed, or could not even be run.

        To FLARE's ``monitor_job`` all of these are the end.
        """
        session.monitor_job(job_id, timeout=PATIENCE_S)
        status = session.get_job_meta(job_id)["status"]
        assert status == COMPLETED, f"the job is {status}; the leaf client says:\n{self.log}"

    def _start(self, site: str, role: str, *more: str) -> None:
        folder = self._root / site
        settings = ["--set", "secure_train=true", "org=nvidia", "config_folder=config", *more]
        program = ["-u", "-m", f"nvflare.private.fed.app.{role}.{role}_train", "-m", str(folder), "-s"]
        with open(folder / "output", "wb") as output:
            command = [sys.executable, *program, f"fed_{role}.json", *settings]
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(self._own)},
            )
        self._running.append(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for it, and see that nothing that it started is left."""
        try:
            process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _connected(self) -> Session | None:
        """A session, once the server listens and knows its client.

        Not before it listens: FLARE ends a session that cannot connect, and if that session connects at this very
        moment after all, ending it waits until the server has gone.
        """
        if not listens(self._server_port):
            return None
        session = None
        try:
            session = new_secure_session(ADMIN, str(self._root / ADMIN), timeout=PATIENCE_S)
            if session.get_system_info().client_info:
                return session
        except Exception as error:  # FLARE raises many kinds while its server comes up
            print(f"not yet: {error}")
        if session is not None:
            session.close()
        return None

    def _configure(self, local: Path) -> None:
        """FLARE 2.9 builds no component of its edge in a job unless the site's list has it."""
        resources = json.loads((local / "resources.json.default").read_text())
        resources["class_allow_list"].append("nvflare.edge.")
        if "snapshot_persistor" in resources:  # the server
            resources["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"] = str(self._own / "snapshots")
            (manager,) = (each for each in resources["components"] if each["id"] == "job_manager")
            manager["args"]["uri_root"] = str(self._own / "jobs")
        (local / "resources.json").write_text(json.dumps(resources))


def job_of_numbers(folder: Path, versions: int, cohort: int, selected: int) -> Path:
    """FLARE's job "numbers", which ends at this version, made from ``cohort`` results each.

    It begins when ``selected`` devices are known. FLARE waits for ever for a selected device that is lost, so let it be
    more than ``cohort``.
    """
    job = EdgeJob("numbers", "number")
    job.configure_server(NumAssessor(cohort, versions, max_model_history=3, device_selection_size=selected))
    job.configure_client(NumDXOAggrFactory())
    job.export_job(str(folder))
    (folder / "numbers" / "app" / "config" / "device_config.json").write_text('{"rate": 0.5}')
    return folder / "numbers"


@dataclass(frozen=True, slots=True)
class RoutingProxy:
    port: int
    pid: int


@contextmanager
def routing_proxy(folder: Path, leaf_clients: dict[str, Any], root_ca: str = "") -> Iterator[RoutingProxy]:
    """FLARE's, with these leaf clients behind it: HTTP in front, gRPC behind, by TLS if there is a certificate."""
    held = held_port()
    port = port_of(held)
    (folder / "leaf_clients.json").write_text(json.dumps(leaf_clients))
    program = [sys.executable, "-m", "nvflare.edge.web.routing_proxy", str(port)]
    with open(folder / "proxy.log", "wb") as log:
        proxy = subprocess.Popen([*program, str(folder / "leaf_clients.json"), root_ca], stdout=log, stderr=log)
    try:
        eventually("the routing proxy listens", lambda: listens(port), PATIENCE_S)
        yield RoutingProxy(port, proxy.pid)
    finally:
        proxy.kill()
        proxy.wait()
        held.close()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def held_port() -> socket.socket:
    """A port that nobody else is given while this is open; FLARE's servers, which set the same options, can listen."""
    sock = socket.socket()
    for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):  # gRPC sets one, Flask the other
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


def port_of(held: socket.socket) -> int:
    port: int = held.getsockname()[1]
    return port
