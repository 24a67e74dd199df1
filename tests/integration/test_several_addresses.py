"""Several addresses behind one endpoint, and listeners of one network interface."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from support.datagrams import Recorder
from support.listeners import RecordingFactory, connects, stop
from support.namespaces import namespace, needs_root
from support.reactors import Reactor, open_descriptors
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError

from dsadapter.frameworks import asyncio as dual_stack
from dsadapter.frameworks.twisted import DualStackDatagramEndpoint, DualStackServerEndpoint
from dsadapter.sockets.listening import listening_socket
from dsadapter.testing import RecordingPlugin, registered

ADDRESSES = ["127.0.0.7", "::1", "127.0.0.9"]
BY_STRING = r"dualstack:0:interface=127.0.0.7,\:\:1,127.0.0.9"


def listen(reactor: Reactor, endpoint: Any) -> tuple[Any, RecordingFactory]:
    factory = RecordingFactory()
    return reactor.result_of(endpoint.listen(factory)), factory


@pytest.mark.parametrize("way", ["string", "list"])
def test_one_port_has_them_all(reactor: Reactor, way: str) -> None:
    if way == "string":
        endpoint: Any = serverFromString(reactor, BY_STRING)
    else:
        endpoint = DualStackServerEndpoint(reactor, 0, interface=ADDRESSES)
    with registered(RecordingPlugin()) as recording:
        port, factory = listen(reactor, endpoint)
        number = port.getHost().port
        assert port.mode == "pair"
        assert [a[:2] for a in port.addresses()] == [(each, number) for each in ADDRESSES]
        assert str(port.policy) == "127.0.0.7:0 and [::1]:0 and 127.0.0.9:0"
        for host in ADDRESSES:
            with socket.create_connection((host, number)):
                reactor.until(lambda: len(factory.made) > len(factory.lost))
                assert factory.made[-1].transport.getHost().host == host
            reactor.until(lambda: len(factory.made) == len(factory.lost))
        # An address that was not named.
        assert not connects("127.0.0.1", number)
        port.stopReading()
        port.startReading()
        stop(reactor, port)
    assert len(recording.of("listener_opened")) == len(recording.of("listener_closed")) == 1
    assert len(recording.of("before_bind")) == 3
    assert not any(connects(host, number) for host in ADDRESSES)
    # And once more.
    port.startListening()
    assert port.getHost().host == "127.0.0.7"
    stop(reactor, port)
    assert factory.started == 0


def test_two_of_one_family(reactor: Reactor) -> None:
    port, factory = listen(
        reactor, serverFromString(reactor, "dualstack:0:interface=127.0.0.7,127.0.0.9")
    )
    assert port.mode == "ipv4"
    for host in ("127.0.0.7", "127.0.0.9"):
        assert connects(host, port.getHost().port)
    reactor.until(lambda: len(factory.lost) == 2)
    stop(reactor, port)


def test_an_address_that_is_held_or_not_there_leaves_nothing_open(reactor: Reactor) -> None:
    with socket.create_server(("127.0.0.9", 0)) as held:
        number = held.getsockname()[1]
        before = open_descriptors()
        for hosts, said in (
            (ADDRESSES, f"127.0.0.9:{number} is held"),
            (["127.0.0.7", "192.0.2.1"], f"192.0.2.1:{number}"),
        ):
            endpoint = DualStackServerEndpoint(reactor, number, interface=hosts)
            with pytest.raises(CannotListenError, match=said):
                listen(reactor, endpoint)
            assert open_descriptors() <= before


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("::,127.0.0.1", "'::' covers '127.0.0.1'; leave '127.0.0.1' out"),
        ("::1,::", "'::' covers '::1'"),
        ("0.0.0.0,::", "'::' covers '0.0.0.0'"),
        ("::ffff:0.0.0.0,127.0.0.1", "'0.0.0.0' covers '127.0.0.1'"),
        ("127.0.0.1,::ffff:127.0.0.1", "names '::ffff:127.0.0.1' twice"),
        ("127.0.0.1,", "has an empty address"),
        ("localhost,10.0.0.1", "give '127.0.0.1,::1' in place of 'localhost'"),
        ("127.0.0.1,example.com", "'example.com' is not an address literal"),
    ],
)
def test_lists_that_say_something_else_than_they_seem(
    reactor: Reactor, hosts: str, said: str
) -> None:
    with pytest.raises(ValueError, match="interface") as caught:
        DualStackServerEndpoint(reactor, 0, interface=hosts)
    assert said in str(caught.value)


def test_a_wildcard_of_one_family_beside_an_address_of_the_other(reactor: Reactor) -> None:
    port, factory = listen(reactor, DualStackServerEndpoint(reactor, 0, interface="0.0.0.0,::1"))
    for host in ("127.0.0.1", "::1"):
        assert connects(host, port.getHost().port)
    reactor.until(lambda: len(factory.lost) == 2)
    stop(reactor, port)


def test_one_socket_takes_one_address() -> None:
    with pytest.raises(ValueError, match="several addresses, and this is one socket"):
        listening_socket("127.0.0.1,::1", 0)


def test_asyncio_has_one_port_number_for_them() -> None:
    async def main() -> set[int]:
        server = await dual_stack.create_server(asyncio.Protocol, ",".join(ADDRESSES), 0)
        async with server:
            return {sock.getsockname()[1] for sock in server.sockets}

    assert len(asyncio.run(main())) == 1


@needs_root
def test_a_device_is_served_alone() -> None:
    with namespace() as network:
        network.run("ip", "link", "add", "other0", "type", "veth", "peer", "name", "far0")
        network.run("ip", "link", "set", "other0", "up")
        with network.entered():
            reactor = Reactor()
            with contextlib.closing(reactor):
                port, factory = listen(reactor, serverFromString(reactor, "dualstack:0:device=lo"))
                for host in ("127.0.0.1", "::1"):
                    assert connects(host, port.getHost().port)
                reactor.until(lambda: len(factory.lost) == 2)
                stop(reactor, port)

                port, _ = listen(reactor, DualStackServerEndpoint(reactor, 0, device="other0"))
                for host in ("127.0.0.1", "::1"):
                    assert not connects(host, port.getHost().port)
                stop(reactor, port)

                udp: Any = {}
                for device in ("lo", "other0"):
                    recorder = Recorder()
                    endpoint = DualStackDatagramEndpoint(reactor, 0, device=device)
                    udp[device] = (reactor.result_of(endpoint.listen(recorder)), recorder)
                for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                    with socket.socket(family, socket.SOCK_DGRAM) as client:
                        for device in ("other0", "lo"):
                            listening = udp[device][0]
                            client.sendto(b"x", (host, listening.getHost().port))
                reactor.until(lambda: len(udp["lo"][1].got) == 2)
                assert udp["other0"][1].got == []
                stop(reactor, udp["lo"][0], udp["other0"][0])

                async def main() -> list[bytes]:
                    seen = []
                    for device in ("lo", "other0"):
                        async with await dual_stack.create_server(
                            asyncio.Protocol, None, 0, device=device
                        ) as server:
                            sock = server.sockets[0]
                            seen.append(
                                sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
                            )
                    return seen

                assert [name.rstrip(b"\0") for name in asyncio.run(main())] == [b"lo", b"other0"]


@pytest.mark.not_on_windows("a socket can't be bound to a device there")
def test_a_device_that_is_not_there(reactor: Reactor) -> None:
    for endpoint in (
        DualStackServerEndpoint(reactor, 0, device="nosuch0"),
        DualStackDatagramEndpoint(reactor, 0, device="nosuch0"),
    ):
        said = "no interface 'nosuch0', which device names; it has lo"
        protocol: Any = (
            Recorder() if isinstance(endpoint, DualStackDatagramEndpoint) else RecordingFactory()
        )
        with pytest.raises(CannotListenError, match=said):
            reactor.result_of(endpoint.listen(protocol))


@pytest.mark.parametrize("device", ["", "eth 0", "x" * 16, "a/b"])
def test_a_device_that_is_no_name(reactor: Reactor, device: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a network interface"):
        DualStackServerEndpoint(reactor, 0, device=device)
