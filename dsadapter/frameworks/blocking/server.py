"""Listening with the standard library."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from dsadapter.errors import spelling
from dsadapter.frameworks.blocking.datagram import TranslatingDatagramSocket, open_bound
from dsadapter.frameworks.blocking.translating import TranslatingSocket, host_and_port
from dsadapter.policy import (
    DEFAULT_PROXY_TIMEOUT,
    DatagramPolicy,
    Fallback,
    Family,
    ListenPolicy,
    proxy_set,
)
from dsadapter.ready.ready_socket import open_ready_socket
from dsadapter.sockets.control_messages import MSG_DONTWAIT
from dsadapter.sockets.families import BY_NUMBER, family_of
from dsadapter.sockets.listening import check_one_socket

if TYPE_CHECKING:
    from dsadapter.frameworks.blocking.proxied_listening import ProxiedListeningSocket
    from dsadapter.proxied.gate import ProxyCounters

FRAMEWORK = "blocking"

R = TypeVar("R", bound="ProxiedListeningSocket")


def create_server(
    address: tuple[str, int],
    *,
    family: int | None = None,
    backlog: int | None = None,
    reuse_port: bool = False,
    dualstack_ipv6: bool = False,
    fallback: Fallback = "auto",
    device: str | None = None,
    proxy_from: Iterable[str] | None = None,
    proxy_timeout: float = DEFAULT_PROXY_TIMEOUT,
) -> TranslatingSocket:
    """As ``socket.create_server``, for both families unless the host or the family says otherwise.

    :param address: ``(host, port)``; ``""`` and ``"::"`` are both families.
    :param family: AF_INET or AF_INET6 for that one alone; None for what the host says.
    :param backlog: how many connections may wait to be accepted; None for as many as can be.
    :param dualstack_ipv6: with AF_INET6, serve both families all the same.
    :param fallback: as for :class:`~dsadapter.policy.ListenPolicy`, but a pair.
    :param device: the name of the network interface, or of the VRF, to serve alone.
    :param proxy_from: addresses and networks of the proxies that pass connections on, each behind a
        PROXY header, which comes before TLS; connections from elsewhere are closed, and those
        accepted are under the client's names.
    :param proxy_timeout: seconds that a header may take to come.
    :returns: a blocking socket that listens; plugins watch it and what it accepts.
    :raises ValueError: naming the offending value and the form to use.
    :raises PluginError: if a required plugin is missing, or a plugin refuses.
    :raises OSError: with the errno of the call that failed.
    """
    wanted = _family(family)
    host, port = host_and_port(address)
    policy = ListenPolicy(
        host,
        port,
        family=None if dualstack_ipv6 else wanted,
        backlog=socket.SOMAXCONN if backlog is None else backlog,
        reuse_port=reuse_port,
        fallback=fallback,
        device=device,
        proxy_from=proxy_set(proxy_from),
        proxy_timeout=proxy_timeout,
    )
    with spelling(BY_NUMBER):
        return listen(policy)


def listen(policy: ListenPolicy) -> TranslatingSocket:
    """The socket for a policy that has been made elsewhere; see :func:`create_server`."""
    check_one_socket(policy)
    if policy.proxy_from is None:
        return open_ready_socket(policy, FRAMEWORK, TranslatingSocket)
    from dsadapter.frameworks.blocking.proxied_listening import ProxiedListeningSocket

    return _reading(policy, ProxiedListeningSocket)


def _reading(policy: ListenPolicy, kind: type[R]) -> R:
    """A socket that reads PROXY headers."""
    sock = open_ready_socket(policy, FRAMEWORK, kind, reads_headers=True)
    try:
        sock.read_headers()
    except BaseException:
        sock.close()
        raise
    return sock


class DualStackMixin:
    """Makes a server of the ``socketserver`` family dual-stack: ``class Server(DualStackMixin,
    ThreadingHTTPServer)``.

    ``server_address`` is what it is for :func:`create_server`: ``("", 8080)`` serves both families.
    ``client_address``, and every name of the request's socket, is canonical. With TLS, set
    ``context.sslsocket_class = server.socket.sslsocket_class`` before wrapping ``server.socket``;
    ``HTTPSServer`` of Python 3.14 needs nothing more.
    """

    family: int | None = None
    """AF_INET or AF_INET6 for that one alone of both that ``""`` and ``"::"`` mean."""
    fallback: Fallback = "auto"
    """What to serve where a family is missing; as for :func:`create_server`."""
    device: str | None = None
    """The network interface, or the VRF, to serve alone, by its name."""
    proxy_from: Iterable[str] | None = None
    """The proxies that pass connections on; as for :func:`create_server`."""
    proxy_timeout: float = DEFAULT_PROXY_TIMEOUT
    """Seconds that a PROXY header may take to come."""

    # What the classes that it is mixed into have.
    server_address: Any
    socket: Any
    socket_type: int
    request_queue_size: int
    max_packet_size: int
    allow_reuse_address: bool
    allow_reuse_port: bool = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for each in cls.__mro__[: cls.__mro__.index(DualStackMixin)]:
            if hasattr(each, "serve_forever") and not issubclass(each, DualStackMixin):
                raise TypeError(
                    f"{each.__name__} comes before DualStackMixin and would bind without it; write "
                    f"class {cls.__name__}(DualStackMixin, {each.__name__})"
                )

    def server_bind(self) -> None:
        """Open the socket, which listens from now on; then what the server does beside that."""
        self.socket.close()
        address = self.server_address
        # That of a server for IPv6 may have four items.
        is_long = isinstance(address, tuple) and len(address) == 4
        host, port = host_and_port(address[:2] if is_long else address)
        family = _family(self.family)
        if self.socket_type == socket.SOCK_DGRAM:
            datagrams = DatagramPolicy(
                host,
                port,
                family=family,
                max_packet_size=self.max_packet_size,
                device=self.device,
            )
            with spelling(BY_NUMBER):
                self.socket = open_bound(datagrams, _BoundDatagramSocket)
        else:
            policy = ListenPolicy(
                host,
                port,
                family=family,
                backlog=self.request_queue_size,
                reuse_port=self.allow_reuse_port,
                fallback=self.fallback,
                device=self.device,
                proxy_from=proxy_set(self.proxy_from),
                proxy_timeout=self.proxy_timeout,
            )
            check_one_socket(policy)
            with spelling(BY_NUMBER):
                self.socket = _bound(policy)
        self.address_family = self.socket.family
        reused = self.allow_reuse_address
        # It is bound already; Windows refuses SO_REUSEADDR on a socket that nobody may share.
        self.allow_reuse_address = False
        try:
            super().server_bind()  # type: ignore[misc]
        finally:
            self.allow_reuse_address = reused

    def _create_context(self) -> Any:
        # Of http.server.HTTPSServer, which wraps the socket in it when it is activated.
        context = super()._create_context()  # type: ignore[misc]
        context.sslsocket_class = self.socket.sslsocket_class
        return context

    @property
    def proxy_counters(self) -> ProxyCounters | None:
        """What proxies have passed on, and what was closed for which reason; None without
        :attr:`proxy_from`."""
        counters: ProxyCounters | None = getattr(self.socket, "proxy_counters", None)
        return counters

    def fileno(self) -> int:
        """What is readable when there may be a request."""
        queue = getattr(self.socket, "queue", None)
        number: int = (self.socket if queue is None else queue).fileno()
        return number

    def service_actions(self) -> None:
        """What the server does now and then, and to close connections whose header is late."""
        super().service_actions()  # type: ignore[misc]
        queue = getattr(self.socket, "queue", None)
        if queue is not None:
            queue.close_late_ones()

    def get_request(self) -> Any:
        """The next connection, or the next datagram with its sender."""
        if self.socket_type != socket.SOCK_DGRAM:
            queue = getattr(self.socket, "queue", None)
            if queue is not None and not queue.is_ready():
                # Waiting for a header must not have the server wait.
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return super().get_request()  # type: ignore[misc]
        # One that is dropped must not have the server wait for the next.
        data, sender = self.socket.recvfrom(self.max_packet_size, MSG_DONTWAIT)
        return (data, self.socket), sender


def _family(number: int | None) -> Family | None:
    return None if number is None else family_of(number)


def _bound(policy: ListenPolicy) -> TranslatingSocket:
    if policy.proxy_from is None:
        return open_ready_socket(policy, FRAMEWORK, _BoundSocket)
    from dsadapter.frameworks.blocking.proxied_listening import BoundProxiedSocket

    return _reading(policy, BoundProxiedSocket)


class _BoundSocket(TranslatingSocket):
    """Its server binds it once more, which it has been already."""

    __slots__ = ()

    def bind(self, address: Any) -> None:
        pass


class _BoundDatagramSocket(TranslatingDatagramSocket):
    """The same for datagrams."""

    __slots__ = ()

    def bind(self, address: Any) -> None:
        pass
