"""Twisted's DNS server, asked by ``dig`` at every address of a host."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.processes import Server, running

SERVER = Path(__file__).parent / "programs" / "dns_server.py"
PORT = 53
NAME = "name.example"
ADDRESS = "192.0.2.1"
OWN = [f"10.1.0.{number}" for number in range(1, 11)] + [
    f"fd00:1::{number}" for number in range(1, 11)
]
ASKER = ("10.1.0.99", "fd00:1::99")

pytestmark = [
    needs_root,
    pytest.mark.skipif(shutil.which("dig") is None, reason="needs dig (bind9-dnsutils)"),
]


class Network(NamedTuple):
    host: Namespace
    asker: Namespace


@pytest.fixture
def network() -> Iterator[Network]:
    with namespace() as host, namespace() as asker:
        connect_namespaces(host, asker)
        for place, addresses in ((host, OWN), (asker, ASKER)):
            place.add_addresses("wire", *addresses)
        yield Network(host, asker)


def dig(network: Network, server: str, *options: str, patience: int = 20) -> str:
    """What dig says; it takes no answer from another address than it asked."""
    timing = ("+tries=1", f"+time={patience}")
    command = ["dig", f"@{server}", "-p", str(PORT), *timing, *options, NAME, "A"]
    done = subprocess.run(
        [*network.asker.prefix, *command], capture_output=True, text=True, timeout=60
    )
    return done.stdout + done.stderr


@contextlib.contextmanager
def serving(network: Network, way: str, folder: Path) -> Iterator[Server]:
    hosts = folder / "hosts"
    hosts.write_text(f"{ADDRESS} {NAME}\n")
    with running(SERVER, way, str(PORT), str(hosts), prefix=network.host.prefix) as server:
        server.wait_for_log("DNSServerFactory starting on")
        yield server


def test_every_address_answers_for_itself(network: Network, tmp_path: Path) -> None:
    with serving(network, "dsadapter", tmp_path) as server:
        for address in OWN:
            assert ADDRESS in dig(network, address), address
        for address in (OWN[3], OWN[-3]):
            assert ADDRESS in dig(network, address, "+tcp"), address
        assert len(network.host.run("ss", "-Hlun", f"sport = :{PORT}").splitlines()) == 1
        assert len(network.host.run("ss", "-Hltn", f"sport = :{PORT}").splitlines()) == 1
        log = server.stop()
    assert "::ffff:" not in log.lower()
    for address in ASKER:
        assert f"'{address}'" in log


def test_twisteds_own_port_answers_from_another_address(network: Network, tmp_path: Path) -> None:
    with serving(network, "twisted", tmp_path) as server:
        said = [dig(network, address, patience=1) for address in (OWN[3], OWN[-3])]
        log = server.stop()
    assert [ADDRESS in text for text in said] == [False, False]
    assert "::ffff:" in log
