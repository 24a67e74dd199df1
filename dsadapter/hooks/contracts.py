"""What framework adapters provide, and what they hand to plugins.

Whatever a plugin registers is checked with ``zope.interface.verify.verifyObject`` when it
registers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from dsadapter.addressing.sockaddr import SocketAddress
    from dsadapter.packetinfo import PacketInfo
    from dsadapter.packetinfo.receiving import Counters
    from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenMode, ListenPolicy


class IServerEndpointFactory(Interface):
    """Makes one framework's endpoints that listen for stream connections.

    Implemented by framework adapters; called by endpoint-string parsers and applications, in the
    framework's own thread.
    """

    def __call__(runtime: Any, policy: ListenPolicy) -> Any:
        """The framework's own kind of endpoint; nothing is opened yet.

        :param runtime: what runs the framework: a reactor, an event loop, or None where the
            framework has no such object.
        :param policy: what to listen on, checked already.
        :returns: for Twisted, an ``IStreamServerEndpoint``.
        """


class IClientEndpointFactory(Interface):
    """Makes one framework's endpoints that connect streams.

    Implemented by framework adapters; called by endpoint-string parsers and applications, in the
    framework's own thread.
    """

    def __call__(runtime: Any, target: tuple[str, int], policy: ConnectPolicy) -> Any:
        """The framework's own kind of endpoint; nothing is opened yet.

        :param runtime: as for :class:`IServerEndpointFactory`.
        :param target: host, a name or an address literal of either family, and port.
        :param policy: how to connect, checked already.
        :raises ValueError: naming what is wrong with the target.
        :returns: for Twisted, an ``IStreamClientEndpoint``.
        """


class IDatagramEndpointFactory(Interface):
    """Makes one framework's datagram endpoints.

    Implemented by framework adapters; called by applications, in the framework's own thread.
    """

    def __call__(runtime: Any, policy: DatagramPolicy) -> Any:
        """The framework's own kind of endpoint; nothing is opened yet.

        :param runtime: as for :class:`IServerEndpointFactory`.
        :param policy: what to bind, checked already.
        """


class IFrameworkAdapter(Interface):
    """One framework, as the registry knows it.

    Implemented by plugins, the built-in ones included, and contributed with the hook
    ``dsadapter_register_frameworks``; used by :func:`dsadapter.frameworks.get_framework`. An
    adapter imports its framework when a factory is called, not before.
    """

    name: str = Attribute("""``str``: the framework's name, unique among all plugins.""")

    requirement: str = Attribute(
        """``str``: what an installer has to be told if :meth:`is_available` says no, such as
        ``"twisted>=22.10"``."""
    )

    server: IServerEndpointFactory | None = Attribute(
        """:class:`IServerEndpointFactory`, or None."""
    )

    client: IClientEndpointFactory | None = Attribute(
        """:class:`IClientEndpointFactory`, or None."""
    )

    datagram: IDatagramEndpointFactory | None = Attribute(
        """:class:`IDatagramEndpointFactory`, or None."""
    )

    def is_available() -> bool:
        """Whether the framework is installed. Asked each time the registry is; must not import
        it."""


class IListener(Interface):
    """An open listener, as applications and observers see it.

    Implemented by each framework adapter's own listening object: Twisted's is the listening port
    itself.
    """

    framework: str = Attribute("""``str``: the name of the framework.""")

    policy: ListenPolicy | DatagramPolicy = Attribute(
        """:class:`~dsadapter.policy.ListenPolicy`, or for datagrams
        :class:`~dsadapter.policy.DatagramPolicy`: what was asked for."""
    )

    mode: ListenMode = Attribute(
        """:data:`~dsadapter.policy.ListenMode`: which address families are served, and by how many
        sockets."""
    )

    def addresses() -> tuple[SocketAddress, ...]:
        """The canonical addresses of its sockets, as last bound; they stay when it has closed."""


class IDatagramListener(IListener):
    """An open port that exchanges datagrams."""

    counters: Counters = Attribute(
        """:class:`~dsadapter.packetinfo.receiving.Counters`: what has been received, and what was
        dropped for which reason."""
    )

    def write(
        datagram: bytes,
        addr: tuple[str, int] | None = None,
        source: str | None = None,
        interface: str | int | None = None,
    ) -> int | None:
        """Send a datagram.

        :param addr: ``(host, port)``, the host an address literal of either family; None where the
            port is connected. An address that came with a datagram of this port is answered from
            where that datagram arrived; for any other one the system chooses.
        :param source: the local address to send from, whatever ``addr`` remembers.
        :param interface: the name or the index of the interface to send by, likewise.
        :returns: how many bytes were sent; None if they were not because an earlier datagram was
            refused.
        """


class IPacketInfoReceiver(Interface):
    """A datagram protocol that wants to know where each datagram arrived.

    Implemented by applications, on their protocol's class or object; looked for when a port opens.
    """

    def packetReceived(data: bytes, addr: tuple[str, int], info: PacketInfo | None) -> None:
        """A datagram has come; called instead of ``datagramReceived``.

        :param data: the payload.
        :param addr: ``(host, port)`` of the sender, canonical. Writing to this very object answers
            from where the datagram arrived.
        :param info: a :class:`~dsadapter.packetinfo.PacketInfo`; None if the system gave none for
            this datagram.
        """
