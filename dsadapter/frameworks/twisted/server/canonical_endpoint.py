"""Any other server endpoint, with canonical addresses."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from dsadapter.frameworks.twisted import private
from dsadapter.frameworks.twisted.addresses import stream_address
from dsadapter.frameworks.twisted.preparing import prepare
from dsadapter.frameworks.twisted.server.stand_ins import AdoptedFactory, canonical_address
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.stand_in import StandIn


@implementer(IStreamServerEndpoint)
class CanonicalServerEndpoint:
    """Listen by another endpoint; the application sees canonical addresses only, those that the
    endpoint has read from a PROXY header included.

    Where the endpoint's port is Twisted's, its listening socket becomes one of ours. An application
    that is not on that port itself, or is on another reactor's, meets its transports through
    stand-ins, which leave everything but addresses to the transport and the protocol; on such a
    reactor the raw handle shows what the kernel says. Plugins are told nothing: the sockets are not
    this package's.

    :param endpoint: provides ``IStreamServerEndpoint``.
    """

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        prepare()
        self._endpoint = endpoint

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoint!r}>"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen as the endpoint does.

        :returns: a Deferred that fires with the listening port, or with what the endpoint's fails
            with; with ``CannotListenError`` where it has taken a socket for one of another family,
            whose addresses would be made of stale memory.
        """
        factory = AdoptedFactory(protocolFactory, None, None)
        listening: Deferred[Any] = maybeDeferred(_listen, self._endpoint, factory)
        return listening.addCallback(self._made_canonical, factory, protocolFactory)

    def _made_canonical(self, port: Any, ours: Any, application: IProtocolFactory) -> Any:
        wrong = _declared_wrongly(getattr(port, "socket", None))
        if wrong is not None:
            reason = OSError(
                f"{self._endpoint!r} takes {wrong}; say its family, or inherit it by "
                f"'dualstack:systemd=0' or 'dualstack:fd=3'"
            )
            refusal = CannotListenError(None, None, reason)
            return maybeDeferred(port.stopListening).addCallback(_raise, refusal)
        made = _Port(port)
        if made.accept_canonically() and port.factory is ours:
            port.factory = application
        return made


class _Port(StandIn):
    """The endpoint's listening port, as the application knows it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(self._original)

    def accept_canonically(self) -> bool:
        """Give Twisted's own port a socket of ours.

        :returns: whether what it accepts shows canonical addresses by itself.
        """
        port = self._original
        if isinstance(getattr(port, "socket", None), CanonicalSocket):
            return True
        if not private.makes_addresses_itself(port) or not port.connected:
            return False
        # The reactor knows the descriptor, which stays.
        port.socket = CanonicalSocket(fileno=port.socket.detach())
        port.socket.setblocking(False)
        port.fileno = port.socket.fileno
        private.make_addresses(port, stream_address)
        return True

    def startListening(self) -> None:
        """Listen again, on a new socket."""
        self._original.startListening()
        self.accept_canonically()

    def getHost(self) -> IAddress:
        """The canonical address that is listened on."""
        host: IAddress = canonical_address(self._original.getHost())
        return host


def _declared_wrongly(sock: Any) -> str | None:
    """What is wrong with the family of a listening socket: Twisted believes whoever declares it."""
    if not isinstance(sock, socket.socket) or isinstance(sock, CanonicalSocket):
        return None
    duplicate = socket.socket(fileno=socket.dup(sock.fileno()))
    with duplicate:
        if duplicate.family == sock.family:
            return None
        return f"an {duplicate.family.name} socket for one of {sock.family.name}"


def _listen(endpoint: Any, factory: Any) -> Any:
    return endpoint.listen(factory)


def _raise(_: Any, error: Exception) -> None:
    raise error
