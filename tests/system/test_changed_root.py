"""Programs that change root and user before they open anything: what is imported late isn't
there."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import Files
from support.environments import clean_environment
from support.listeners import connects
from support.machines import first
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.processes import running
from support.programs import serving

pytestmark = needs_root

JAILED = Path(__file__).parent / "programs" / "jailed.py"
TWISTD = str(Path(sys.executable).with_name("twistd"))


@pytest.fixture
def jail(tmp_path: Path) -> Path:
    """Nothing is in it but what Twisted opens to keep a descriptor in reserve."""
    made = tmp_path / "jail"
    (made / "dev").mkdir(parents=True)
    (made / "dev" / "null").touch()
    (made / "dev" / "null").chmod(0o666)
    return made


def outcome(jail: Path, *args: str, **kwargs: object) -> str:
    with running(JAILED, str(jail), *args, **kwargs) as program:
        said: str = first(program, "outcome")["outcome"]
        return said


@pytest.mark.parametrize(
    ("description", "hosts"),
    [
        ("tcp:{}", ["127.0.0.1"]),
        ("dualstack:{}", ["127.0.0.1", "::1"]),
        ("dualstack:{}:interface=localhost", ["127.0.0.1", "::1"]),
        ("dualstack:{}:interface=127.0.0.1", ["127.0.0.1"]),
        (r"dualstack:{}:interface=\:\:1", ["::1"]),
    ],
)
def test_twistd_listens_in_a_jail(jail: Path, description: str, hosts: list[str]) -> None:
    def command(port: int) -> list[str]:
        options = ["--nodaemon", "--pidfile=", f"--chroot={jail}", "--uid=65534", "--gid=65534"]
        return [TWISTD, *options, "web", "--listen", description.format(port)]

    # Twisted's own web server can't answer there: it imports late, too.
    with serving(command) as (_, port):
        for host in hosts:
            assert connects(host, port)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("server", "127.0.0.1 ::1"),
        ("server string", "127.0.0.1 ::1"),
        ("IPv4 server", "127.0.0.1"),
        ("IPv6 server", "::1"),
        ("pair", "127.0.0.1 ::1"),
        ("foreign server", "127.0.0.1 ::1"),
        ("foreign pair", "127.0.0.1 ::1"),
        ("held", "held"),
        ("datagrams", "::"),
        ("IPv4 datagrams", "0.0.0.0"),
        ("IPv4 group", "joined"),
        ("IPv6 group", "joined"),
    ],
)
def test_a_program_listens_from_a_jail(jail: Path, operation: str, expected: str) -> None:
    assert outcome(jail, operation) == expected


@pytest.mark.parametrize("way", ["tls={0.directory}", "privateKey={0.key}:certKey={0.full_chain}"])
def test_a_program_serves_TLS_from_a_jail(jail: Path, tmp_path: Path, way: str) -> None:
    files = Files.written_to(tmp_path / "tls")
    assert outcome(jail, "TLS server", way.format(files)) == "127.0.0.1 ::1"
    assert outcome(jail, "TLS", way.format(files), str(files.root)) == "hello hello"


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("IPv4 client", "127.0.0.1"),
        ("IPv6 client", "::1"),
        ("client string", "127.0.0.1"),
        ("bound client", "127.0.0.1"),
        ("client by name", "127.0.0.1"),
        ("client by a name of before", "127.0.0.1"),
        ("client by a name of after", "127.0.0.1"),
    ],
)
def test_a_program_connects_from_a_jail(jail: Path, operation: str, expected: str) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        assert outcome(jail, operation, str(server.getsockname()[1])) == expected


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("client from elsewhere", "192.0.2.1:0 can't be used"),
        ("client from a link-local address", "needs its interface"),
        ("client to nobody", "127.0.0.9"),
        ("client by a mapped name of after", "xn--"),
    ],
)
def test_a_program_is_told_what_is_wrong_in_a_jail(jail: Path, operation: str, text: str) -> None:
    assert text in outcome(jail, operation, "9")


@pytest.fixture
def wired() -> Iterator[tuple[Namespace, Namespace]]:
    with namespace() as server, namespace() as client:
        connect_namespaces(server, client)
        for place, address in ((server, "fe80::7"), (client, "fe80::8")):
            place.add_addresses("wire", address)
        yield server, client


def test_a_program_reaches_a_link_local_address_from_a_jail(
    jail: Path, wired: tuple[Namespace, Namespace]
) -> None:
    server, client = wired
    with server.entered():
        listener = socket.create_server(("::", 0), family=socket.AF_INET6)
    with listener:
        number = str(listener.getsockname()[1])
        reached = outcome(jail, "zoned client", number, prefix=client.prefix)
    assert reached == "fe80::7%wire"


GUARD = """
from dsadapter import hookimpl

@hookimpl
def dsadapter_before_bind(sock, policy):
    raise PermissionError("not from here")

@hookimpl
def dsadapter_before_connect(sock, attempt):
    raise PermissionError("not from here")
"""


@pytest.fixture
def guarded(tmp_path: Path) -> dict[str, str]:
    """The environment of programs in which a plugin refuses everything."""
    folder = tmp_path / "guard"
    metadata = folder / "guard-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "guard.py").write_text(GUARD)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: guard\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dsadapter]\nguard = guard\n")
    return clean_environment(PYTHONPATH=str(folder))


@pytest.mark.parametrize("operation", ["server", "pair", "foreign server", "datagrams"])
def test_a_guard_guards_what_listens_in_a_jail(
    jail: Path, guarded: dict[str, str], operation: str
) -> None:
    assert "not from here" in outcome(jail, operation, env=guarded)


@pytest.mark.parametrize("operation", ["IPv4 client", "client string"])
def test_a_guard_guards_what_connects_in_a_jail(
    jail: Path, guarded: dict[str, str], operation: str
) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        said = outcome(jail, operation, str(server.getsockname()[1]), env=guarded)
    assert "not from here" in said
