"""Datagram ports on Windows, Twisted's and asyncio's: asked by this machine's programs, and by
forgers."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import wine
from support.builds import Distributions
from support.frames import udp_over_ipv6, write_frame
from support.namespaces import Namespace, namespace, needs_root
from support.peers import peer
from support.processes import Server
from support.programs import FAMILIES, LOOPBACK, leaks, listening_sockets, serving
from support.wine import Windows, path_of_windows

PROGRAMS = Path(__file__).parent / "programs"
DNS_SERVER = Path(__file__).parents[1] / "system" / "programs" / "dns_server.py"
NAME, ADDRESS = "name.example", "192.0.2.1"
VICTIM = 5353
WATCHING = [
    ("echo_port.py", "select"),
    ("echo_port.py", "asyncio"),
    ("loop_echo_port.py", "proactor"),
    ("loop_echo_port.py", "selector"),
]


@pytest.mark.skipif(shutil.which("dig") is None, reason="needs dig (bind9-dnsutils)")
def test_a_name_server_answers_dig_in_both_families(windows: Windows, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{ADDRESS} {NAME}\n")

    def command(port: int) -> list[str]:
        return windows.command(DNS_SERVER, "dsadapter", str(port), path_of_windows(hosts))

    with serving(command, env=windows.environment) as (server, port):
        for family in FAMILIES:
            for transport in ("+notcp", "+tcp"):
                assert dig(LOOPBACK[family], port, transport) == ADDRESS
        assert len(listening_sockets(port)) == 1
        log = server.stop()
    assert leaks(log) == []
    for family in FAMILIES:
        assert f"'{LOOPBACK[family]}'" in log


def dig(server: str, port: int, transport: str) -> str:
    """The addresses that a name server has; it takes no answer from another address."""
    command = ["dig", f"@{server}", "-p", str(port), transport, "+short", "+tries=1", "+time=20"]
    asked = [*command, NAME, "A"]
    return subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.mark.parametrize(("program", "loop"), WATCHING)
def test_a_port_names_its_peers_and_answers_them(windows: Windows, program: str, loop: str) -> None:
    with windows.program(PROGRAMS / program, loop) as server:
        port = began(server)
        for host in LOOPBACK.values():
            with peer(host) as client:
                client.settimeout(20)
                client.sendto(b"hello", (host, port))
                assert server.event() == {
                    "data": "hello",
                    "peer": [host, client.getsockname()[1]],
                    "info": {"destination": host, "interface": 1},
                }
                assert client.recvfrom(100)[1][:2] == (host, port)
        server.process.stdin.close()
        assert server.process.wait(20) == 0


def began(server: Server) -> int:
    said: dict[str, Any] = server.event()
    assert said.get("mode") == "dual-stack", said
    port: int = said["port"]
    return port


@pytest.fixture
def place() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@needs_root
@pytest.mark.parametrize(("program", "loop"), WATCHING)
def test_forged_datagrams_are_dropped_and_counted(
    distributions: Distributions, place: Namespace, program: str, loop: str
) -> None:
    if reason := wine.lacking():
        pytest.skip(reason)
    claimed = ["127.0.0.1", "192.0.2.1", "255.255.255.255"]
    with (
        wine.windows(distributions.wheel, place.prefix) as windows,
        windows.program(PROGRAMS / program, loop) as server,
    ):
        port = began(server)
        with place.entered():
            victim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            genuine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with victim, genuine:
            victim.bind(("127.0.0.1", VICTIM))
            with place.entered():
                for source in claimed:
                    write_frame(
                        "lo", udp_over_ipv6(f"::ffff:{source}", VICTIM, "::1", port, b"forged")
                    )
            genuine.sendto(b"genuine", ("127.0.0.1", port))
            event = server.event()
            assert (event["data"], event["peer"][0]) == ("genuine", "127.0.0.1")
            genuine.sendto(b"counters", ("127.0.0.1", port))
            counted = server.event()["counters"]
            assert (counted["received"], counted["forged"]) == (2, len(claimed))
            victim.setblocking(False)
            with pytest.raises(BlockingIOError):
                victim.recv(100)
        server.wait_for_log("claims an IPv4 sender", f"from 127.0.0.1:{VICTIM}, sent to ::1")
        assert leaks(server.stop()) == []
