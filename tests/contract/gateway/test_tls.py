"""HTTPS on a real port, with a certificate that is replaced while it is in use."""

import asyncio
import hashlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # as in a gateway, which is not the first to import it here
import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc import aio

from tests.contract.flare.quirks import covers
from tests.contract.gateway.conftest import Device
from tests.unit.gateway.fakes import BIG_SCHEMA, JOB, FakeDispatcher, get, result, schema_of, update_of
from tests.unit.wire.edge_messages import Reply
from turnout.blobs.place import FolderSource
from turnout.gateway.grpc import GrpcServer
from turnout.gateway.http1.server import GatewayServer
from turnout.gateway.limits import GatewayLimits, GrpcLimits
from turnout.gateway.process import look
from turnout.messages import ResultReport
from turnout.transport.certificate import BadCertificate, Certificate

pytestmark = pytest.mark.anyio

WAIT_S = 20.0
METHOD = "/edgeapi.EdgeApi/Query"


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: each has a TLS of its own."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@dataclass
class World:
    """A gateway with a certificate, and the authority that made it."""

    authority: trustme.CA
    certificate: Certificate
    dispatcher: FakeDispatcher
    folder: Path
    port: int
    gateway: GatewayServer
    calls: GrpcServer
    grpc_port: int
    devices: list[Device]

    async def connect(self, tls: ssl.SSLContext | None = None) -> Device:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=tls or self.trusting(), server_hostname="turnout.example"
        )
        self.devices.append(Device(reader, writer))
        return self.devices[-1]

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def renew(self) -> None:
        write(self.authority, self.folder)


def write(authority: trustme.CA, folder: Path) -> None:
    """A new certificate in the files."""
    issued = authority.issue_cert("turnout.example", "127.0.0.1")
    (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())


def write_for_openssl_alone(folder: Path) -> None:
    """A certificate in the files on a curve that OpenSSL has, and the TLS of grpc has not."""
    key = ec.generate_private_key(ec.SECP256K1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "turnout.example")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def serial(device: Device) -> str:
    """The number of the certificate that a device saw."""
    found = device.writer.get_extra_info("peercert")
    return str(found["serialNumber"])


@asynccontextmanager
async def serving(folder: Path, limits: GatewayLimits | None = None) -> AsyncIterator[World]:
    authority = trustme.CA()
    write(authority, folder)
    certificate = Certificate(folder / "cert.pem", folder / "key.pem")
    dispatcher = FakeDispatcher()
    gateway = GatewayServer(dispatcher, schema_of, lambda job_id: FolderSource(str(folder)), limits=limits)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    await gateway.start([listening], certificate.context)
    calls = GrpcServer(gateway.site, "127.0.0.1:0", GrpcLimits(), certificate)
    world = World(authority, certificate, dispatcher, folder, port, gateway, calls, await calls.start(), [])
    try:
        yield world
    finally:
        for device in world.devices:
            device.writer.close()
        await asyncio.gather(calls.close(), gateway.close())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with serving(tmp_path) as world:
        yield world


async def test_a_device_asks_again_and_again_on_one_connection(world: World) -> None:
    device = await world.connect()
    for _ in range(3):
        assert (await device.ask(JOB)).json["status"] == "OK"
    device.writer.write(JOB + JOB)
    assert [(await device.reply()).status for _ in range(2)] == [200, 200]


async def test_http_1_1_is_agreed_upon(world: World) -> None:
    context = world.trusting()
    context.set_alpn_protocols(["h2", "http/1.1"])
    device = await world.connect(context)
    assert device.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    assert (await device.ask(JOB)).status == 200


async def test_a_large_result_and_a_large_model_pass_whole(world: World) -> None:
    device = await world.connect()
    update = update_of(BIG_SCHEMA)
    assert (await device.ask(result(update, "big"))).json["counted"]
    report = world.dispatcher.requests[-1]
    assert isinstance(report, ResultReport)
    assert bytes(report.update) == update[-80_000:]
    model = os.urandom(3_000_000)
    sha256 = hashlib.sha256(model).hexdigest()
    (world.folder / f"{sha256}.safetensors").write_bytes(model)
    assert (await device.ask(get(f"/blob/small/{sha256}"))).body == model


async def test_a_new_certificate_is_seen_by_new_connections_while_the_old_go_on(world: World) -> None:
    before = await world.connect()
    assert (await before.ask(JOB)).status == 200
    world.renew()
    assert "new certificate" in world.certificate.look()
    assert (await before.ask(JOB)).status == 200
    after = await world.connect()
    assert (await after.ask(JOB)).status == 200
    assert serial(after) != serial(before)


async def test_broken_files_leave_the_certificate_in_use(world: World) -> None:
    before = await world.connect()
    (world.folder / "cert.pem").write_text("half a certif")
    assert "the certificate in use stays" in world.certificate.look()
    after = await world.connect()
    assert (await after.ask(JOB)).status == 200
    assert serial(after) == serial(before)


async def test_a_device_that_does_not_know_the_authority_does_not_connect(world: World) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await world.connect(ssl.create_default_context())
    assert (await (await world.connect()).ask(JOB)).status == 200


async def test_who_does_not_speak_tls_disturbs_nobody(world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(JOB)
    async with asyncio.timeout(WAIT_S):
        assert not (await reader.read()).startswith(b"HTTP")
    writer.close()
    assert (await (await world.connect()).ask(JOB)).status == 200


async def test_who_never_shakes_hands_is_let_go(tmp_path: Path) -> None:
    async with serving(tmp_path, GatewayLimits(head_timeout_s=0.1)) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        async with asyncio.timeout(WAIT_S):
            assert await reader.read() == b""
        writer.close()


async def test_a_device_that_speaks_tls_to_a_port_without_it_is_told_something_and_disturbs_nobody(
    tmp_path: Path,
) -> None:
    gateway = GatewayServer(FakeDispatcher(), schema_of, lambda job_id: None)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    await gateway.start([listening])
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context())
    device = Device(*await asyncio.open_connection("127.0.0.1", port))
    assert (await device.ask(JOB)).status == 200
    device.writer.close()
    await gateway.close()


@covers("grpc/tls")
async def test_grpc_has_the_same_certificate_and_sees_the_new_one_too(world: World) -> None:
    trusted = world.authority.cert_pem.bytes()
    for _ in range(2):
        secure = aio.secure_channel(
            f"127.0.0.1:{world.grpc_port}",
            grpc.ssl_channel_credentials(trusted),
            options=[("grpc.use_local_subchannel_pool", 1)],
        )
        async with secure as channel:
            reply = Reply.FromString(await channel.unary_unary(METHOD)(b"", timeout=WAIT_S, wait_for_ready=True))
            assert reply.status == "INVALID_REQUEST"
        world.authority = trustme.CA()
        world.renew()
        assert world.certificate.look()
        await world.calls.renew()
        trusted = world.authority.cert_pem.bytes()


async def test_a_new_certificate_that_grpc_cannot_use_leaves_it_the_old_one_and_is_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    write_for_openssl_alone(world.folder)
    for _ in range(2):
        await look(world.certificate, world.calls)
    told = [record.getMessage() for record in caplog.records if "gRPC" in record.getMessage()]
    assert len(told) == 1
    assert f"by gRPC the old certificate stays in use: gRPC cannot use --tls-cert {world.folder}/cert.pem" in told[0]
    credentials = grpc.ssl_channel_credentials(world.authority.cert_pem.bytes())
    async with aio.secure_channel(f"127.0.0.1:{world.grpc_port}", credentials) as channel:
        reply = Reply.FromString(await channel.unary_unary(METHOD)(b"", timeout=WAIT_S))
    assert reply.status == "INVALID_REQUEST"


async def test_grpc_does_not_start_with_a_certificate_that_it_cannot_use_and_names_it(world: World) -> None:
    write_for_openssl_alone(world.folder)
    certificate = Certificate(world.folder / "cert.pem", world.folder / "key.pem")
    server = GrpcServer(world.gateway.site, "127.0.0.1:0", GrpcLimits(), certificate)
    with pytest.raises(BadCertificate, match=r"gRPC cannot use --tls-cert .*cert\.pem"):
        await server.start()
