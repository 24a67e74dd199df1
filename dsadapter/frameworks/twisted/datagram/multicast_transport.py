"""Twisted's multicast transport for a port that serves one family or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.error import MulticastJoinError
from twisted.python.failure import Failure

from dsadapter.addressing.hosts import canonical_host
from dsadapter.addressing.literal import parse_literal
from dsadapter.datagrams.served import ServedSocket, of_family
from dsadapter.sockets import multicast


class DualStackMulticast:
    """``IMulticastTransport``, with interfaces also by name and groups also by source.

    Each setting acts on all families that the port serves. Of several sockets the first of a
    group's family joins it; a socket that is bound to one address hears no group on Linux.
    """

    reactor: Any

    if TYPE_CHECKING:

        @property
        def _served(self) -> Sequence[ServedSocket]: ...

    def joinGroup(
        self, addr: str, interface: str | int = "", source: str | None = None
    ) -> Deferred[None]:
        """Receive what is sent to a group.

        :param addr: an address of either family, or a host name that has an IPv4 one; with a zone
            for the interface, ``ff02::fb%eth0``.
        :param interface: the name, the index or an address of the interface; empty for the system
            to choose.
        :param source: receive from this address alone (source-specific multicast).
        :returns: a Deferred that fails with ``MulticastJoinError``.
        """
        return self._change(addr, interface, source, join=True)

    def leaveGroup(
        self, addr: str, interface: str | int = "", source: str | None = None
    ) -> Deferred[None]:
        """Receive no more what is sent to a group; with the arguments that it was joined with.

        :returns: a Deferred that fails with ``MulticastJoinError``.
        """
        return self._change(addr, interface, source, join=False)

    def _change(
        self, group: str, interface: str | int, source: str | None, *, join: bool
    ) -> Deferred[None]:
        def change(address: str) -> None:
            try:
                served = of_family(self._served, address)
                multicast.change_membership(
                    served.sock, served.mode, address, interface, source, join=join
                )
            except OSError as error:
                raise MulticastJoinError(group, interface, error.errno, error.strerror) from error

        def explain(reason: Failure) -> None:
            reason.trap(ValueError)
            raise MulticastJoinError(str(reason.value)) from reason.value

        return self._resolved(group).addCallback(change).addErrback(explain)

    def setOutgoingInterface(self, addr: str | int) -> Deferred[int]:
        """Send to groups by one interface.

        :param addr: the name, the index or an address of the interface.
        :returns: a Deferred that fails with ``ValueError`` if there is no such interface.
        """

        def change() -> int:
            served = self._served
            # An address is of one family.
            found = addr if len(served) == 1 else multicast.resolve_interface(addr)
            for each in served:
                multicast.set_outgoing_interface(each.sock, each.mode, found)
            return 1

        return execute(change)

    def getOutgoingInterface(self) -> str | int:
        """The interface that datagrams to groups leave by: its index; on an IPv4 port its address.
        Unspecified if the system chooses."""
        return multicast.outgoing_interface(self._served[0].sock, self._served[0].mode)

    def setLoopbackMode(self, mode: int) -> None:
        """Whether this machine hears what the port sends to groups: True or False, or 1 or 0.

        :raises ValueError: for anything else.
        """
        for each in self._served:
            multicast.set_loopback(each.sock, each.mode, mode)

    def getLoopbackMode(self) -> bool:
        """Whether this machine hears what the port sends to groups."""
        return multicast.loopback(self._served[0].sock, self._served[0].mode)

    def setTTL(self, ttl: int) -> None:
        """How many hops a datagram to a group travels, 0 to 255."""
        for each in self._served:
            multicast.set_hops(each.sock, each.mode, ttl)

    def getTTL(self) -> int:
        """How many hops a datagram to a group travels."""
        return multicast.hops(self._served[0].sock, self._served[0].mode)

    def _resolved(self, group: str) -> Deferred[str]:
        """An address literal as it is; a host name's IPv4 address.

        :returns: a Deferred that fails with ``ValueError`` for text that is neither, though the C
            library may take it for an address.
        """
        try:
            if not isinstance(group, str) or parse_literal(group) is not None:
                return succeed(group)
        except ValueError:
            return succeed(group)
        return execute(canonical_host, group).addCallback(self.reactor.resolve)
