"""Servers in other shapes: migrated by the command, then run with both families."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from support.certificates import issue, older_pyopenssl_api
from support.environments import clean_environment
from support.processes import running_command
from support.programs import LOOPBACK, free_port, listening_sockets, until_listening

HEAD = """\
from twisted.internet import endpoints, protocol, reactor, ssl
from twisted.application import internet, service

class WhoAmI(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(self.transport.getPeer().host.encode() + b"\\n")
        self.transport.loseConnection()

factory = protocol.Factory.forProtocol(WhoAmI)
"""
SHAPES = {
    "endpoints": (
        "endpoints.TCP6ServerEndpoint(reactor, {port}).listen(factory)\n"
        "endpoints.TCP4ServerEndpoint(reactor, {port}).listen(factory)\n"
        "reactor.run()\n"
    ),
    "strings": (
        "endpoints.serverFromString(reactor, 'tcp6:{port}').listen(factory)\n"
        "endpoints.serverFromString(reactor, 'tcp:{port}').listen(factory)\n"
        "reactor.run()\n"
    ),
    "a loop": (
        "for address in ('', '::'):\n"
        "    reactor.listenTCP({port}, factory, interface=address)\n"
        "reactor.run()\n"
    ),
    "services": (
        "application = service.Application('who')\n"
        "internet.TCPServer({port}, factory).setServiceParent(application)\n"
        "internet.TCPServer({port}, factory, interface='::').setServiceParent(application)\n"
    ),
}
ASYNCIO = """\
import asyncio

class WhoAmI(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(transport.get_extra_info("peername")[0].encode() + b"\\n")
        transport.close()

"""
SHAPES_OF_ASYNCIO = {
    "a list of hosts, before the loop runs": (
        "loop = asyncio.new_event_loop()\n"
        "loop.run_until_complete(loop.create_server(WhoAmI, ['0.0.0.0', '::'], {port}))\n"
        "loop.run_forever()\n"
    ),
    "two servers that nothing holds": (
        "async def main():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    await loop.create_server(WhoAmI, '0.0.0.0', {port}, backlog=5)\n"
        "    await loop.create_server(WhoAmI, '::', {port}, backlog=5)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    ),
}
TLS = (
    "context = ssl.DefaultOpenSSLContextFactory('key.pem', 'cert.pem')\n"
    "reactor.listenSSL({port}, factory, context)\n"
    "reactor.listenSSL({port}, factory, context, interface='::')\n"
    "reactor.run()\n"
)


def migrated(folder: Path, body: str, port: int, head: str = HEAD) -> Path:
    file = folder / "server.py"
    file.write_text(head + body.format(port=port))
    command = [sys.executable, "-m", "dsadapter", "migrate", "--write", str(file)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    return file


def command(file: Path) -> list[str]:
    if "application" in file.read_text().replace("twisted.application", ""):
        twistd = shutil.which("twistd", path=str(Path(sys.executable).parent))
        assert twistd is not None
        return [twistd, "--nodaemon", "--pidfile=", "--logfile=-", "--python", str(file)]
    return [sys.executable, str(file)]


def told(connection: socket.socket) -> str:
    with connection:
        return connection.makefile().readline().strip()


@pytest.mark.parametrize("shape", SHAPES)
def test_both_families_are_served_through_one_socket(tmp_path, shape):
    port = free_port()
    file = migrated(tmp_path, SHAPES[shape], port)
    with running_command(command(file), cwd=tmp_path, env=clean_environment()) as server:
        until_listening(port, server)
        for host in LOOPBACK.values():
            assert told(socket.create_connection((host, port), timeout=60)) == host
        assert len(listening_sockets(port)) == 1


@pytest.mark.parametrize("shape", SHAPES_OF_ASYNCIO)
def test_both_families_are_served_through_one_socket_of_asyncio(tmp_path, shape):
    port = free_port()
    file = migrated(tmp_path, SHAPES_OF_ASYNCIO[shape], port, ASYNCIO)
    with running_command(command(file), cwd=tmp_path, env=clean_environment()) as server:
        until_listening(port, server)
        for host in LOOPBACK.values():
            assert told(socket.create_connection((host, port), timeout=60)) == host
        assert len(listening_sockets(port)) == 1


@pytest.mark.parametrize("shape", ["a loop", "services"])
def test_a_held_port_ends_the_program(tmp_path, shape):
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as held:
        file = migrated(tmp_path, SHAPES[shape], held.getsockname()[1])
        done = subprocess.run(
            command(file),
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode != 0
    assert "CannotListenError" in done.stderr + done.stdout


@older_pyopenssl_api
def test_tls_is_served_to_both_families(tmp_path):
    issued = issue("localhost", None, "localhost")
    (tmp_path / "key.pem").write_bytes(issued.key_pem())
    (tmp_path / "cert.pem").write_bytes(issued.pem)
    port = free_port()
    file = migrated(tmp_path, TLS, port)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with running_command(command(file), cwd=tmp_path, env=clean_environment()) as server:
        until_listening(port, server)
        for host in LOOPBACK.values():
            plain = socket.create_connection((host, port), timeout=60)
            assert told(context.wrap_socket(plain)) == host
        assert len(listening_sockets(port)) == 1
