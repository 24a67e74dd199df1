"""The methods of sockets as a covered process has them.

Each function makes the replacement of one method: of ``socket.socket``, or of a class that a
framework derives from ``_socket.socket`` itself. Sockets other than IPv6 ones pay one comparison.
"""

from __future__ import annotations

import _socket
import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_family: Any = _socket.socket.family.__get__
_type: Any = _socket.socket.type.__get__
_proto: Any = _socket.socket.proto.__get__
_fileno: Any = _socket.socket.fileno
_timeout: Any = _socket.socket.gettimeout
_STREAM = int(_socket.SOCK_STREAM)
_DATAGRAM = int(_socket.SOCK_DGRAM)
_INET = int(_socket.AF_INET)
_INET6 = int(getattr(_socket, "AF_INET6", -1))
_BOTH = (_INET, _INET6)

listeners: dict[int, Any] = {}
"""What is known of the listening sockets of this process, by descriptor."""

owned: dict[int, Any] = {}
"""The bound stream sockets of this process whose objects nobody has closed or detached, by
descriptor: a weak reference to each object."""

endings: dict[int, tuple[int, Any]] = {}
"""Whom to tell when a descriptor is closed: the process that opened it, and a function."""


def _late(module: str, name: str, *, asks: bool = False) -> Any:
    """What is imported when a process first needs it; None if the interpreter is ending, which
    imports nothing any more.

    :param asks: whether it asks plugins.
    :raises PermissionError: if it would ask those that are required.
    """
    try:
        return getattr(__import__(f"dsadapter.{module}", fromlist=[name]), name)
    except ImportError:
        if not sys.is_finalizing():
            raise
        if asks and os.environ.get("DSADAPTER_REQUIRE_PLUGINS"):
            raise PermissionError(
                errno.EPERM, "the interpreter is ending, and can't ask the required plugins"
            ) from None
        return None


def _canonical(name: Any) -> Any:
    """The canonical form of a name of four items. The first one imports what does it."""
    global _canonical
    found = _late("sockets.canonical", "canonical_name")
    if found is None:
        return name
    _canonical = found
    return _canonical(name)


def _take_ipv4_form(sock: Any) -> Any:
    global _take_ipv4_form
    found = _late("sockets.canonical", "take_ipv4_form")
    if found is None:
        return False
    _take_ipv4_form = found
    return _take_ipv4_form(sock)


def _but_for_pairs(method: Any, original: Any, module: Any) -> Any:
    """A method that leaves alone what ``socketpair`` does where it is made of a listener on
    loopback, as on Windows: that is nobody's business."""
    if hasattr(_socket, "socketpair"):
        return method
    names = "socketpair", "_fallback_socketpair"
    makers = {vars(module)[name].__code__ for name in names if name in vars(module)}

    def call(self: Any, *args: Any) -> Any:
        return (original if sys._getframe(1).f_code in makers else method)(self, *args)

    return call


def _destination(sock: Any, address: Any) -> Any:
    global _destination
    found = _late("launcher.connecting", "destination", asks=True)
    if found is None:
        return address
    _destination = found
    return _destination(sock, address)


def _exchange_of(sock: Any) -> Any:
    global _exchange_of
    found = _late("launcher.datagrams", "exchange_of")
    if found is None:
        return None
    _exchange_of = found
    return _exchange_of(sock)


def init(original: Any, module: Any) -> Any:
    """A given descriptor has the family that the kernel says."""

    def initialize(
        self: Any,
        family: int = -1,
        type: int = -1,  # noqa: A002
        proto: int = -1,
        fileno: Any = None,
    ) -> None:
        if fileno is not None and family in _BOTH:
            # What an inherited descriptor is declared as gives addresses of stale memory.
            try:
                original(self, -1, type, proto, fileno)
                return
            except OSError:
                # Windows doesn't say before it is bound.
                pass
        original(self, family, type, proto, fileno)

    return initialize


def accept(original: Any, module: Any) -> Any:
    """The peer's address is canonical, and the connection an AF_INET one if it can be."""
    take: Any = _socket.socket._accept  # type: ignore[attr-defined]

    def accept(self: Any) -> tuple[Any, Any]:
        family = _family(self)
        if family != _INET6:
            # It calls _accept.
            result: tuple[Any, Any] = original(self)
            return result
        fd, name = take(self)
        accepted = module.socket(family, _type(self), _proto(self), fd)
        # What socket.socket does too: a BSD's accepted socket inherits non-blocking mode.
        if module.getdefaulttimeout() is None and _timeout(self):
            accepted.setblocking(True)
        address = _canonical(name)
        if address is not name:
            _take_ipv4_form(accepted)
        if listeners:
            _accepted(self, fd, address)
        return accepted, address

    return accept


def accept_descriptor(original: Any, module: Any) -> Any:
    """The same for who makes a socket of the descriptor."""

    def _accept(self: Any) -> tuple[int, Any]:
        fd, name = original(self)
        address = _canonical(name) if _family(self) == _INET6 else name
        if address is not name:
            borrowed = _socket.socket(_INET6, _STREAM, 0, fd)
            try:
                _take_ipv4_form(borrowed)
            finally:
                borrowed.detach()
        if listeners:
            _accepted(self, fd, address)
        return fd, address

    return _accept


def _accepted(listening: Any, fd: int, address: Any) -> None:
    known = listeners.get(_fileno(listening))
    if known is not None:
        known.accepted(fd, address)


def name(original: Any, module: Any) -> Any:
    """The name is canonical."""

    def name(self: Any) -> Any:
        found = original(self)
        try:
            if found[0][:7] == "::ffff:":
                return _canonical(found)
        except (TypeError, IndexError):
            # Of a family whose names are other things, or empty.
            pass
        return found

    return name


def bind(original: Any, module: Any) -> Any:
    """See :mod:`dsadapter.launcher.binding`."""

    def bind(self: Any, address: Any, /) -> None:
        if _family(self) in _BOTH:
            cover = _late("launcher.binding", "bind", asks=True)
            if cover is not None:
                cover(self, address, original)
                return
        original(self, address)

    return _but_for_pairs(bind, original, module)


def listen(original: Any, module: Any) -> Any:
    """See :mod:`dsadapter.launcher.listening`."""

    def listen(self: Any, *backlog: int) -> None:
        if _family(self) in _BOTH and _type(self) == _STREAM:
            cover = _late("launcher.listening", "listen", asks=True)
            if cover is not None:
                cover(self, backlog, original)
                return
        original(self, *backlog)

    return _but_for_pairs(listen, original, module)


def connect(original: Any, module: Any) -> Any:
    """See :mod:`dsadapter.launcher.connecting`."""

    def connect(self: Any, address: Any, /) -> None:
        if _family(self) in _BOTH:
            address = _destination(self, address)
        original(self, address)

    return _but_for_pairs(connect, original, module)


def connect_ex(original: Any, module: Any) -> Any:
    """The same without an exception."""

    def connect_ex(self: Any, address: Any, /) -> int:
        if _family(self) in _BOTH:
            try:
                address = _destination(self, address)
            except PermissionError as error:
                # It says so by a number.
                return error.errno or 1
        number: int = original(self, address)
        return number

    return connect_ex


def receive(original: Any, module: Any) -> Any:
    """A datagram comes with its canonical sender, or not at all."""
    method = original.__name__

    def receive(self: Any, *args: Any, **options: Any) -> Any:
        if _family(self) == _INET6 and _type(self) == _DATAGRAM and _fileno(self) >= 0:
            exchange = _exchange_of(self)
            if exchange is not None:
                return getattr(exchange, method)(*args, **options)
        return original(self, *args, **options)

    return receive


def send(original: Any, module: Any) -> Any:
    """A datagram goes to a canonical address, from where it was asked."""
    method = original.__name__

    def send(self: Any, *args: Any) -> Any:
        if _family(self) == _INET6 and _type(self) == _DATAGRAM and _fileno(self) >= 0:
            exchange = _exchange_of(self)
            if exchange is not None:
                return getattr(exchange, method)(*args)
        return original(self, *args)

    return send


def detach(original: Any, module: Any) -> Any:
    """Readers of the bare descriptor see IPv4 as far as they can."""

    def detach(self: Any) -> int:
        if owned:
            owned.pop(_fileno(self), None)
        if _family(self) == _INET6:
            if _type(self) == _STREAM:
                _take_ipv4_form(self)
            else:
                _forget_datagrams(self)
        fd: int = original(self)
        return fd

    return detach


def close(original: Any, module: Any) -> Any:
    """Whoever waits for the end is told."""

    def _real_close(self: Any, *args: Any) -> None:
        fd = _fileno(self)
        if _family(self) == _INET6 and _type(self) == _DATAGRAM and _fileno(self) >= 0:
            _forget_datagrams(self)
        if owned:
            owned.pop(fd, None)
        try:
            original(self, *args)
        finally:
            if endings and fd in endings:
                closed(fd)

    return _real_close


def close_object(original: Any, module: Any) -> Any:
    """The same, of a class whose ``close`` is C's own."""

    def close(self: Any) -> None:
        fd = _fileno(self)
        if _family(self) == _INET6 and _type(self) == _DATAGRAM and _fileno(self) >= 0:
            _forget_datagrams(self)
        if owned:
            owned.pop(fd, None)
        try:
            original(self)
        finally:
            if endings and fd in endings:
                closed(fd)

    return close


def inherited(original: Any, module: Any) -> Any:
    """What the class inherited before anything was changed."""
    return getattr(original, "_dsadapter_replaces", original)


def inherited_bind(original: Any, module: Any) -> Any:
    """The same, for ``bind``; the port is shared if that is asked for."""
    from dsadapter.launcher.report import settings

    bind = inherited(original, module)
    if not settings().reuse_port:
        return bind

    def share_and_bind(self: Any, address: Any, /) -> None:
        from dsadapter.launcher.binding import share_port

        share_port(self)
        bind(self, address)

    return share_and_bind


def closed(fd: int) -> None:
    """A descriptor has been closed, or has come again: tell whoever waits for its end."""
    known = endings.pop(fd, None)
    if known is not None and known[0] == os.getpid():
        known[1]()


def _forget_datagrams(sock: Any) -> None:
    datagrams: Any = sys.modules.get("dsadapter.launcher.datagrams")
    if datagrams is not None:
        datagrams.forget(sock)
