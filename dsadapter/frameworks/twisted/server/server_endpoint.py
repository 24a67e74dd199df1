"""Twisted endpoints that serve both address families through one socket."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.posixbase import PosixReactorBase
from zope.interface import implementer

from dsadapter.errors import spelling
from dsadapter.frameworks.twisted import private
from dsadapter.frameworks.twisted.listening_port import PolicyEndpoint, one_text
from dsadapter.frameworks.twisted.reactors import Way, way_of
from dsadapter.frameworks.twisted.server.stream_port import StreamPort
from dsadapter.frameworks.twisted.spelling import LISTENING
from dsadapter.policy import DEFAULT_PROXY_TIMEOUT, Fallback, Family, ListenPolicy, proxy_set
from dsadapter.sockets.adopting import Which, inherited_streams

if TYPE_CHECKING:
    from dsadapter.frameworks.twisted.server.adopted_port import AdoptedPort


@implementer(IStreamServerEndpoint)
class DualStackServerEndpoint(PolicyEndpoint[ListenPolicy]):
    """Listen for IPv4 and IPv6 connections through one socket; the application sees canonical
    addresses only.

    :param reactor: the reactor to listen with.
    :param port: 0 to 65535; 0 lets the system choose one, the same for both families.
    :param interface: ``"::"`` or ``""`` for both families; ``"localhost"`` for 127.0.0.1 and ::1.
        An IPv4 literal, plain or mapped, is IPv4 only; any other IPv6 literal is IPv6 only.
        A list of literals, or a text of them with commas, is one port with a socket for each.
    :param family: ``"ipv4"`` or ``"ipv6"`` for that family of ``::`` or ``localhost`` alone; None
        for both.
    :param device: the name of the network interface, or of the VRF, to serve alone.
    :param backlog: how many connections may wait to be accepted; the system caps it.
    :param fallback: what to serve where a family is missing or ``IPV6_V6ONLY`` can't be cleared:
        ``"pair"``, a socket for each family; ``"ipv4"`` or ``"ipv6"``, that one alone; ``"fail"``,
        nothing; ``"auto"``, the most that this machine has. The port's ``mode`` says what it is. A
        port that is held, or may not be had, is an error always.
    :param reusePort: share the port with other sockets of this user that ask for it
        (``SO_REUSEPORT``).
    :param proxyFrom: addresses and networks of the proxies that pass connections on with a PROXY
        header, which comes before TLS. Connections from elsewhere are closed; the application sees
        nothing of a connection before its header has come, and then the client's address. None
        takes connections from anywhere, without a header.
    :param proxyTimeout: seconds that a header may take.
    :param nativeIPv4: make connections with IPv4 peers AF_INET ones as far as the kernel can, for
        whoever gets their bare descriptors; see :func:`dsadapter.sockets.handing_on.native_ipv4`.
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
        backlog: int = socket.SOMAXCONN,
        fallback: Fallback = "auto",
        reusePort: bool = False,
        proxyFrom: Iterable[str] | None = None,
        proxyTimeout: float = DEFAULT_PROXY_TIMEOUT,
        nativeIPv4: bool = False,
    ) -> None:
        with spelling(LISTENING):
            policy = ListenPolicy(
                one_text(interface),
                port,
                family=family,
                device=device,
                backlog=backlog,
                fallback=fallback,
                reuse_port=reusePort,
                proxy_from=proxy_set(proxyFrom),
                proxy_timeout=proxyTimeout,
                native_ipv4=nativeIPv4,
            )

        self._settle(reactor, policy)

    @classmethod
    def inherited(
        cls,
        reactor: Any,
        *,
        fd: int | Sequence[int] | None = None,
        systemd: Which | None = None,
        proxyFrom: Iterable[str] | None = None,
        proxyTimeout: float = DEFAULT_PROXY_TIMEOUT,
        nativeIPv4: bool = False,
    ) -> Self:
        """The endpoint of sockets that somebody else has made: systemd, inetd, a parent, another
        worker. They are taken over when it listens, once.

        :param fd: the number of a descriptor, or of two: an IPv4 and a v6-only socket of one port.
        :param systemd: the index, from 0, or the name of what systemd has passed, or several.
        :param proxyFrom: as for the constructor; so are the others.
        :raises OSError: naming the descriptor and the remedy, for what is no listening TCP socket.
        :raises ValueError: unless one of ``fd`` and ``systemd`` is given.
        """
        with spelling(LISTENING):
            policy = replace(
                inherited_streams(fd=fd, systemd=systemd),
                proxy_from=proxy_set(proxyFrom),
                proxy_timeout=proxyTimeout,
                native_ipv4=nativeIPv4,
            )
        return cls.withPolicy(reactor, policy)

    def _settle(self, reactor: Any, policy: ListenPolicy) -> None:
        super()._settle(reactor, policy)
        # What few servers need, they need now: root may be another when they listen.
        if policy.proxy_from is not None:
            importlib.import_module("dsadapter.proxied.proxied_socket")
        if not (isinstance(reactor, PosixReactorBase) and private.TCP_PORT_TAKES_SOCKETS):
            importlib.import_module("dsadapter.frameworks.twisted.server.adopted_port")

    @property
    def _port(self) -> int:
        """As Twisted's endpoints have it: magic-wormhole's transit relay reads it."""
        return self._policy.port

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Bind and listen before returning, so that privileges can be dropped right after.

        :returns: a Deferred that has fired: with the listening port, or with ``CannotListenError``.
            It never raises.
        """
        return execute(self._listen, protocolFactory)

    def _listen(self, protocolFactory: IProtocolFactory) -> IListeningPort:
        policy = self._policy
        way = way_of(self._reactor, "listen", adopts=True, completes=True)
        if way != "recording":
            listener = self._port_class(way)(policy, protocolFactory, self._reactor)
            listener.startListening()
            return listener
        port: IListeningPort = self._reactor.listenTCP(
            policy.port, protocolFactory, backlog=policy.backlog, interface=policy.host
        )
        return port

    @staticmethod
    def _port_class(way: Way) -> type[StreamPort | AdoptedPort]:
        if way == "watching" and private.TCP_PORT_TAKES_SOCKETS:
            return StreamPort
        if way == "completing":
            from dsadapter.frameworks.twisted.server.completing_port import CompletingPort

            return CompletingPort
        from dsadapter.frameworks.twisted.server.adopted_port import AdoptedPort

        return AdoptedPort
