"""The Twisted endpoint for datagrams of both address families through one socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import AbstractDatagramProtocol

from dsadapter.errors import spelling
from dsadapter.frameworks.twisted import private
from dsadapter.frameworks.twisted.datagram.datagram_port import DatagramPort
from dsadapter.frameworks.twisted.listening_port import PolicyEndpoint, one_text
from dsadapter.frameworks.twisted.reactors import way_of
from dsadapter.frameworks.twisted.spelling import LISTENING
from dsadapter.policy import DEFAULT_PACKET_SIZE, DatagramFallback, DatagramPolicy, Family
from dsadapter.sockets.adopting import Which, inherited_datagrams


class DualStackDatagramEndpoint(PolicyEndpoint[DatagramPolicy]):
    """Exchange datagrams with IPv4 and IPv6 peers through one socket, or one for each of several
    addresses; the application sees canonical addresses only, and answers leave from the address
    that was asked.

    :param reactor: the reactor to listen with.
    :param port: 0 to 65535; 0 lets the system choose one, the same for both families.
    :param interface: ``"::"`` or ``""`` for both families. ``localhost`` is 127.0.0.1 and ::1 with
        one port number. An IPv4 literal, plain or mapped, is IPv4 only; any other IPv6 literal is
        IPv6 only. Several literals, in a list or with commas between, have one port number.
    :param family: ``"ipv4"`` or ``"ipv6"`` for that family of ``::`` or ``localhost`` alone; None
        for both.
    :param device: the name of the network interface, or of the VRF, to serve alone.
    :param maxPacketSize: how many bytes a datagram may have; a longer one is dropped, counted and
        logged.
    :param fallback: ``"ipv4"`` or ``"ipv6"``, that family alone where this machine can't serve
        both; ``"auto"``, whichever there is; ``"fail"``, neither.
    :raises ValueError: naming the offending value and the form to use.
    """

    def __init__(
        self,
        reactor: Any,
        port: int,
        *,
        interface: str | Sequence[str] = "::",
        family: Family | None = None,
        device: str | None = None,
        maxPacketSize: int = DEFAULT_PACKET_SIZE,
        fallback: DatagramFallback = "auto",
    ) -> None:
        with spelling(LISTENING):
            policy = DatagramPolicy(
                one_text(interface),
                port,
                family=family,
                device=device,
                max_packet_size=maxPacketSize,
                fallback=fallback,
            )
        self._settle(reactor, policy)

    @classmethod
    def inherited(
        cls,
        reactor: Any,
        *,
        fd: int | Sequence[int] | None = None,
        systemd: Which | None = None,
        maxPacketSize: int = DEFAULT_PACKET_SIZE,
    ) -> Self:
        """The endpoint of sockets that somebody else has made; see
        :meth:`dsadapter.frameworks.twisted.DualStackServerEndpoint.inherited`.

        For datagrams that came before it listens see
        :func:`dsadapter.sockets.adopting.inherited_datagrams`.

        :param fd: the number of a descriptor, or of two: an IPv4 and a v6-only socket of one port.
        :param systemd: the index, from 0, or the name of what systemd has passed, or several.
        :raises OSError: naming the descriptor and the remedy, for what is no bound UDP socket.
        :raises ValueError: unless one of ``fd`` and ``systemd`` is given.
        """
        with spelling(LISTENING):
            policy = inherited_datagrams(fd=fd, systemd=systemd, max_packet_size=maxPacketSize)
        return cls.withPolicy(reactor, policy)

    def listen(self, protocol: AbstractDatagramProtocol) -> Deferred[IListeningPort]:
        """Bind before returning, so that privileges can be dropped right after.

        :param protocol: what gets the datagrams: ``datagramReceived``, or ``packetReceived`` if it
            provides :class:`~dsadapter.hooks.contracts.IPacketInfoReceiver`.
        :returns: a Deferred that has fired: with the listening port, or with ``CannotListenError``.
            It never raises.
        """
        return execute(self._listen, protocol)

    def _listen(self, protocol: AbstractDatagramProtocol) -> IListeningPort:
        policy = self._policy
        if way_of(self._reactor, "exchange datagrams") == "watching":
            if not private.UDP_PORT_TAKES_SOCKETS:
                # It would open a socket of its own, which shows mapped addresses.
                raise NotImplementedError(
                    "this release of Twisted takes no ready socket for datagrams; install one that "
                    "this version of dsadapter knows"
                )
            port = DatagramPort(policy, protocol, self._reactor)
            port.startListening()
            return port
        recorded: IListeningPort = self._reactor.listenUDP(
            policy.port,
            protocol,
            interface=policy.host,
            maxPacketSize=policy.max_packet_size,
        )
        return recorded
