"""Real proxies in front of several servers, as ``docs/proxy-protocol.md`` has them configured: the
client's address of either family arrives end to end, over TLS too, and is what the access log has.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.certificates import Authority
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.processes import PATIENCE, Server, running_command
from support.programs import until, until_served

PAGE = Path(__file__).parents[2] / "docs" / "proxy-protocol.md"
CLIENTS = {"192.0.2.1": "192.0.2.10", "2001:db8:c::1": "2001:db8:c::10"}
"""The client's addresses, and those of the proxy that it connects to."""
MACHINES = {"web-a": "10.0.0.11", "web-b": "10.0.0.12", "web-c": "2001:db8::13"}
PORTS = {"web": 80, "secure": 443}
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

pytestmark = needs_root


def example(language: str) -> str:
    """The first block of the page in a language."""
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


class Machines(NamedTuple):
    client: Namespace
    proxy: Namespace
    servers: dict[str, Server]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A client's machine, a proxy's, and three servers' on the network behind it."""
    folder = tmp_path_factory.mktemp("site")
    authority = Authority.made()
    issued = authority.issue("example.com")
    (folder / "key.pem").write_bytes(issued.key_pem())
    (folder / "cert.pem").write_bytes(issued.pem + authority.intermediate.pem)
    with contextlib.ExitStack() as stack:
        client, proxy = (stack.enter_context(namespace()) for _ in range(2))
        connect_namespaces(client, proxy)
        client.add_addresses("wire", *CLIENTS)
        proxy.add_addresses("wire", *CLIENTS.values())
        proxy.run("ip", "link", "add", "inside", "type", "bridge")
        proxy.run("ip", "link", "set", "inside", "up")
        proxy.add_addresses("inside", "10.0.0.1", "2001:db8::1")
        servers = {}
        for name, address in MACHINES.items():
            machine = stack.enter_context(namespace())
            connect_namespaces(proxy, machine, name)
            proxy.run("ip", "link", "set", name, "master", "inside")
            machine.add_addresses(name, address)
            servers[name] = stack.enter_context(served(machine, folder))
        yield Machines(client, proxy, servers)


@contextlib.contextmanager
def served(machine: Namespace, folder: Path) -> Iterator[Server]:
    """The page's server."""
    command = example("console").removeprefix("$ ").replace("\\\n", "")
    program, *arguments = shlex.split(command)
    argv = [*machine.prefix, str(Path(sys.executable).with_name(program)), *arguments]
    with running_command(argv, cwd=folder) as server:
        for port in (8080, 8443):
            server.wait_for_log("listening on", str(port))
        yield server


@contextlib.contextmanager
def haproxy(machines: Machines, folder: Path) -> Iterator[Server]:
    configuration = folder / "haproxy.cfg"
    configuration.write_text(example("haproxy"))
    argv = [*machines.proxy.prefix, "haproxy", "-db", "-f", str(configuration)]
    with running_command(argv) as proxy:
        yield proxy


@contextlib.contextmanager
def nginx(machines: Machines, folder: Path) -> Iterator[Server]:
    configuration = folder / "nginx.conf"
    around = [
        f"load_module {STREAM_MODULE};",
        "daemon off;",
        "error_log stderr;",
        f"pid {folder}/nginx.pid;",
        "events {}",
    ]
    configuration.write_text("\n".join([*around, example("nginx")]))
    argv = [*machines.proxy.prefix, "nginx", "-c", str(configuration), "-p", str(folder)]
    with running_command(argv) as proxy:
        yield proxy


PROXIES = {
    "haproxy": (haproxy, shutil.which("haproxy") is not None),
    "nginx": (nginx, shutil.which("nginx") is not None and STREAM_MODULE.exists()),
}


@pytest.fixture(scope="module", params=PROXIES)
def proxied(
    request: pytest.FixtureRequest, machines: Machines, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    start, there = PROXIES[request.param]
    if not there:
        pytest.skip(f"needs {request.param}")
    with start(machines, tmp_path_factory.mktemp(request.param)) as proxy:
        until(
            lambda: all(
                f":{port} " in machines.proxy.run("ss", "-Hltn") for port in PORTS.values()
            ),
            proxy,
        )
        yield request.param


def requested(machines: Machines, client: str, service: str, path: str) -> bytes:
    with machines.client.entered(), contextlib.ExitStack() as stack:
        sock = stack.enter_context(
            socket.create_connection(
                (CLIENTS[client], PORTS[service]), timeout=PATIENCE, source_address=(client, 0)
            )
        )
        if service == "secure":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = stack.enter_context(context.wrap_socket(sock))
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return b"".join(iter(lambda: sock.recv(4096), b""))


@pytest.mark.parametrize("service", PORTS)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_access_log_of_every_server_has_the_client(
    machines: Machines, proxied: str, client: str, service: str
) -> None:
    path = f"/{proxied}-{service}-{client.count(':')}"
    for number, server in enumerate(machines.servers.values()):
        # Round robin: whichever server is next, each of them is once.
        answer = requested(machines, client, service, f"{path}-{number}")
        assert answer.startswith(b"HTTP/1."), server.log()
    for server in machines.servers.values():
        until_served(client, server)
        line = server.wait_for_log(f"GET {path}-")
        assert re.search(rf'(?<![0-9a-f:.]){re.escape(client)}\\?" - - ', line)
        assert "::ffff:" not in server.log()


def test_a_machine_that_is_no_proxy_is_closed(machines: Machines) -> None:
    """Another server on the network behind the proxy."""
    server = machines.servers["web-a"]
    machines.proxy.add_addresses("inside", "10.0.0.99")
    with machines.proxy.entered():
        with socket.create_connection(
            ("10.0.0.11", 8080), timeout=PATIENCE, source_address=("10.0.0.99", 0)
        ) as sock:
            assert sock.recv(1) == b""
    line = server.wait_for_log("closed a connection from 10.0.0.99:")
    assert "none of proxyFrom" in line
