"""What is remembered for speed is bounded, and what is over is forgotten."""

from __future__ import annotations

import gc
import itertools
import socket
import struct
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from support.datagrams import WAYS, Recorder, listen, peer
from support.reactors import Reactor

from dsadapter import hookimpl
from dsadapter.plugin import PluginManager

IP_PKTINFO = 8  # Linux; Python has no name for it before 3.14
HOT = b"hot"
ENTRIES = 6144
"""How many senders a port knows."""


def loopback() -> Iterator[str]:
    for a, b in itertools.product(range(1, 250), range(1, 250)):
        yield f"127.9.{a}.{b}"


def send_from(client: socket.socket, source: str, data: bytes, to: tuple[str, int]) -> None:
    info = struct.pack("@i4s4s", 0, socket.inet_aton(source), bytes(4))
    client.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, to)


class Hot(Recorder):
    """Keeps the addresses of one sender."""

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        if data == HOT:
            self.got.append((data, addr))


@pytest.mark.not_on_windows("sends from sources by sendmsg, and more in a second than Wine can")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("varied", ["sources", "destinations"])
def test_a_busy_sender_stays_known(reactor: Reactor, varied: str, way: str) -> None:
    """Its address is made once, and not again for the strangers that come between."""
    for _ in range(5):
        begun = time.monotonic()
        made = addresses_made(reactor, varied, way)
        # Each second everything is forgotten, however it is kept.
        forgotten = int(time.monotonic() - begun)
        assert made <= 1 + forgotten
        if not forgotten:
            break


def addresses_made(reactor: Reactor, varied: str, way: str) -> int:
    protocol = Hot()
    port = listen(reactor, protocol, way=way)
    number = port.getHost().port
    hosts = loopback()
    with peer("127.0.0.1") as hot, peer(family=socket.AF_INET) as client:
        for _ in range(50):
            hot.sendto(HOT, ("127.0.0.1", number))
            for host in itertools.islice(hosts, ENTRIES // 40):
                if varied == "sources":
                    send_from(client, host, b"", ("127.0.0.1", number))
                else:
                    client.sendto(b"", (host, number))
            reactor.iterate(0)
        reactor.iterate(0)
    reactor.result_of(port.stopListening())
    assert len(protocol.got) == 50
    return len({id(address) for _, address in protocol.got})


class Name(str):
    """One whose end can be seen."""


class Silent:
    @hookimpl
    def dsadapter_listener_opened(self) -> None:
        pass


def test_the_name_of_a_plugin_that_is_gone_is_forgotten() -> None:
    manager = PluginManager()
    name = Name("passing")
    known = weakref.ref(name)
    manager.register(Silent(), name)
    manager.unregister(name)
    del name
    gc.collect()
    assert known() is None


def test_the_name_of_a_plugin_that_is_gone_can_be_taken() -> None:
    manager = PluginManager()
    manager.register(Silent(), "twisted")
    manager.unregister("twisted")
    manager.load()
    assert "twisted" not in manager.failures
    assert "twisted" in manager.frameworks


def test_a_plugin_that_is_gone_is_forgotten() -> None:
    manager = PluginManager()
    plugin = Silent()
    known = weakref.ref(plugin)
    manager.register(plugin, "passing")
    manager.unregister("passing")
    del plugin
    gc.collect()
    assert known() is None
