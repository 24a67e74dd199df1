"""An application as its author types it, under mypy strict; what is ignored has to be wrong."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol, Factory
from zope.interface import implementer

from dsadapter.addressing import AddressSet, is_mapped, map_ipv4, unmap
from dsadapter.frameworks.twisted import (
    ConnectingError,
    DualStackAgentEndpointFactory,
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.interfaces import IDatagramListener, IListener, IPacketInfoReceiver
from dsadapter.packetinfo import PacketInfo
from dsadapter.policy import ConnectPolicy, ListenMode, ListenPolicy


@implementer(IPacketInfoReceiver)
class Answering(DatagramProtocol):
    """Answers from another address than the one that was asked."""

    def packetReceived(self, data: bytes, addr: tuple[str, int], info: PacketInfo | None) -> None:
        port = IDatagramListener(self.transport)
        if info is not None:
            sent: int | None = port.write(
                data, addr, source=info.destination, interface=info.interface_name
            )
            print(sent, info.interface_index + 1, port.counters.received + 1)
        port.write(data, addr, sender="192.0.2.1")  # type: ignore[call-arg]


def listening(port: IListeningPort) -> None:
    listener = IListener(port)
    mode: ListenMode = listener.mode
    for host, number, *_ in listener.addresses():
        print(mode, host, number)
    listener.mode = "pears"  # type: ignore[assignment]


def start() -> Deferred[IListeningPort]:
    DualStackDatagramEndpoint(reactor, 53).listen(Answering())
    DualStackServerEndpoint(reactor, 80, fallback="none")  # type: ignore[arg-type]
    DualStackServerEndpoint(reactor, 80, "::")  # type: ignore[call-arg]
    DualStackServerEndpoint(reactor, 80, proxyFrom=["10.0.0.0/8"], proxyTimeout=3)
    DualStackServerEndpoint(reactor, 80, proxyFrom=AddressSet(["10.0.0.0/8"]))
    DualStackServerEndpoint(reactor, 80, proxyFrom=10)  # type: ignore[arg-type]
    return (
        DualStackServerEndpoint(reactor, 80, interface="::", family="ipv6", reusePort=True)
        .listen(Factory())
        .addCallback(shown)
    )


def shown(port: IListeningPort) -> IListeningPort:
    listening(port)
    return port


def connect() -> None:
    DualStackClientEndpoint(reactor, "www.example.org", 80, attemptDelay=0.1, lookup="families")
    DualStackAgentEndpointFactory(reactor, timeout=5, bindAddress=("192.0.2.1", 0))
    DualStackAgentEndpointFactory(reactor, timeout="5")  # type: ignore[arg-type]
    DualStackAgentEndpointFactory(reactor, time_out=5)  # type: ignore[call-arg]


def failed(error: ConnectingError) -> list[float]:
    return [attempt.seconds for attempt in error.attempts]


def addresses() -> None:
    text: str = unmap("::ffff:192.0.2.1")
    packed: bytes = map_ipv4(bytes(4))
    mapped: bool = is_mapped(text)
    allowed: bool = text in AddressSet(["192.0.2.0/24"])
    print(text, packed, mapped, allowed)
    policy = ListenPolicy("::", 80, backlog=5)
    policy.port = 81  # type: ignore[misc]
    ConnectPolicy(30)  # type: ignore[call-arg]
