"""Names to addresses, by Twisted's resolvers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from socket import if_indextoname
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.addressing.text import unmap_text
from dsadapter.sockets.connecting import destination_sockaddr

Resolved = Callable[[list[SocketAddress], bool], None]


@implementer(IResolutionReceiver)
class AddressReceiver:
    """Hands over the canonical addresses of one name as they come.

    Addresses that come in one reactor turn are handed over together, in the resolver's order.

    :param resolved: called with the new addresses, and with whether they were the last.
    """

    def __init__(self, reactor: Any, resolved: Resolved) -> None:
        self._reactor = reactor
        self._resolved: Resolved | None = resolved
        self._addresses: list[SocketAddress] = []
        self._resolution: IHostResolution | None = None
        self._flushing: Any = None

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The resolver has started."""
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """The resolver has found an address."""
        if self._resolved is None or not isinstance(address, (IPv4Address, IPv6Address)):
            return
        self._addresses.append(canonical_sockaddr(address))
        if self._flushing is None:
            self._flushing = self._reactor.callLater(0, self._flush)

    def resolutionComplete(self) -> None:
        """The resolver has found all addresses."""
        self._hand_over(last=True)

    def cancel(self) -> None:
        """Hand over nothing any more."""
        self._stop_flushing()
        self._resolved = None
        # Twisted's own resolvers can't be stopped.
        with contextlib.suppress(NotImplementedError):
            if self._resolution is not None:
                self._resolution.cancel()

    def _flush(self) -> None:
        self._flushing = None
        self._hand_over(last=False)

    def _hand_over(self, last: bool) -> None:
        self._stop_flushing()
        resolved, addresses = self._resolved, self._addresses
        self._addresses = []
        if last:
            self._resolved = None
        if resolved is not None:
            resolved(addresses, last)

    def _stop_flushing(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None


def _interface(scope_id: int | str) -> int | str:
    return if_indextoname(scope_id) if isinstance(scope_id, int) else scope_id


def canonical_sockaddr(address: IPv4Address | IPv6Address) -> SocketAddress:
    """The canonical socket address for what a resolver has found.

    A scope id survives, in whichever of its places a resolver has put it.

    :raises OSError: if there is no such interface.
    """
    host = unmap_text(address.host)
    if isinstance(address, IPv6Address) and address.scopeID and "%" not in host:
        host = f"{host}%{_interface(address.scopeID)}"
    return destination_sockaddr(host, address.port)
