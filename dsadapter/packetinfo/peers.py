"""The address of a datagram's sender, which remembers where its datagram arrived."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.sockets.control_messages import Message


class Route(NamedTuple):
    """What ``sendmsg`` takes."""

    address: SocketAddress | None
    """The destination, in the form that the socket takes; None for a sender that has no address
    yet, as in DHCP."""
    messages: list[Message]
    """The control messages that choose the source; empty to leave the choice to the system."""


class WayBack:
    """How to answer one sender; shows nothing of the form that addresses have in the kernel.

    :param owner: stands for the port; a port of its own would be kept alive by every address.
    :param messages: the control messages that choose the source.
    :param mapped: whether the socket takes the address mapped.
    :param scope: the scope id that the socket takes; None for one of AF_INET.
    """

    __slots__ = ("_mapped", "_messages", "_route", "owner", "scope")

    def __init__(
        self, owner: object, messages: list[Message], mapped: bool, scope: int | None
    ) -> None:
        self.owner = owner
        self._messages = messages
        self._mapped = mapped
        self.scope = scope
        self._route: Route | None = None

    def route(self, host: str, port: int) -> Route:
        """The way to a sender; most are answered never, or more than once."""
        route = self._route
        if route is None:
            wire: SocketAddress | None
            if host in ("0.0.0.0", "::"):
                # To a socket the unspecified address is this machine's loopback.
                wire = None
            elif self._mapped:
                wire = (f"::ffff:{host}", port, 0, 0)
            elif self.scope is None:
                wire = (host, port)
            else:
                wire = (host.partition("%")[0], port, 0, self.scope)
            route = self._route = Route(wire, self._messages)
        return route

    def __repr__(self) -> str:
        return "<the way back>"


class PeerAddress(tuple[str, int]):
    """``(host, port)``, and in everything that can be seen of it just that.

    It is equal to the plain tuple, has its hash and its ``repr``, and unpacks as one. What it
    remembers beside that is the way back, from the address that the datagram was sent to; a pickle
    forgets it. What asks for the exact type ``tuple`` takes ``tuple(address)`` only.
    """

    # A tuple's subclass can have no slots.
    way_back: WayBack | None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return tuple, (tuple(self),)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def way_back(address: object, owner: object) -> Route | None:
    """The route that an address remembers, if it is one of this owner's."""
    if type(address) is PeerAddress:
        way = address.way_back
        if way is not None and way.owner is owner:
            return way.route(*address)
    return None
