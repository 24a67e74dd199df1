"""The address of a datagram's sender, which remembers where its datagram arrived."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.packetinfo._cmsg import Message


class Route(NamedTuple):
    """What ``sendmsg`` takes."""

    address: SocketAddress | None
    """The destination, in the form that the socket takes; None for a sender that has no address
    yet, as in DHCP."""
    messages: list[Message]
    """The control messages that choose the source; empty to leave the choice to the system."""


class PeerAddress(tuple[str, int]):
    """``(host, port)``, and in everything that can be seen of it just that.

    It is equal to the plain tuple, has its hash and its ``repr``, and unpacks as one. What it
    remembers beside that is the way back, from the address that the datagram was sent to; a pickle
    forgets it.
    """

    # A tuple's subclass can have no slots.
    _owner: object
    _route: Route

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return tuple, (tuple(self),)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def remember(address: PeerAddress, owner: object, route: Route) -> None:
    """Note the way back on an address that is not in the application's hands yet.

    :param owner: stands for the port; a port of its own would be kept alive by every address.
    """
    address._owner = owner
    address._route = route


def way_back(address: object, owner: object) -> Route | None:
    """The route that an address remembers, if it is one of this owner's."""
    if type(address) is PeerAddress and address._owner is owner:
        return address._route
    return None
