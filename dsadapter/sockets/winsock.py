"""``recvmsg`` and ``sendmsg`` on Windows, which CPython's sockets lack there.

``WSARecvMsg`` is no export of ws2_32: its address comes from ``WSAIoctl``
(``SIO_GET_EXTENSION_FUNCTION_POINTER``). ``ctypes`` is imported by the first call, not before, and
releases the GIL during one.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
import threading
import uuid
from collections.abc import Callable, Iterable
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from dsadapter.addressing.literal import packed_literal
from dsadapter.addressing.mapped import MAPPED_PREFIX, PACKED_IPV4_LENGTH
from dsadapter.sockets.bare_handles import refuse_loop
from dsadapter.sockets.control_messages import MSG_DONTWAIT, Message, join, split

GET_EXTENSION_FUNCTION_POINTER = 0xC8000006
UDP_CONNRESET = 0x9800000C
RECVMSG = uuid.UUID("f689d7c8-6f1f-436b-8a53-e54fe351c322").bytes_le
EMSGSIZE = 10040
MSG_TRUNC = 0x100
INET, INET6 = 2, 23
NAME_SIZE = 28
MAX_CONTROL = 65535

T = TypeVar("T")

if TYPE_CHECKING:
    _Base = socket.socket
else:
    _Base = object


class MessageSocket(_Base):
    """A mix-in for a class of sockets: the methods that other platforms have, as they have them.

    What is longer than its buffer comes with ``MSG_TRUNC``, as elsewhere, and is no error; so does
    a datagram whose control messages were cut (``MSG_CTRUNC``), since Winsock tells no length then.
    A refused datagram does not end the next receive (``SIO_UDP_CONNRESET`` is switched off).
    """

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        if self.type == socket.SOCK_DGRAM:
            _library().ignore_refusals(self)

    def fileno(self) -> int:
        """As ``socket.socket.fileno``; a loop that receives from the bare handle is refused."""
        refuse_loop(self, sys._getframe(1))
        return super().fileno()

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[Message], int, Any]:
        """As ``socket.socket.recvmsg``.

        :raises OSError: with Winsock's number as ``winerror``, and its text.
        """
        call = _library().receive
        if flags & MSG_DONTWAIT:
            flags &= ~MSG_DONTWAIT
            if not select.select((self,), (), (), 0)[0]:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return _waiting(self, lambda: call(self, bufsize, ancbufsize, flags), reading=True)

    def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[tuple[int, int, Any]] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        """As ``socket.socket.sendmsg``; the host of an address is a literal.

        :raises ValueError: for a host that is no address literal of the socket's family.
        :raises OSError: with Winsock's number as ``winerror``, and its text.
        """
        payload = b"".join(bytes(memoryview(buffer)) for buffer in buffers)
        control = join((level, kind, bytes(data)) for level, kind, data in ancdata)
        name = b"" if address is None else pack_name(int(self.family), address)
        call = _library().send
        return _waiting(self, lambda: call(self, payload, control, flags, name), reading=False)


def _waiting(sock: socket.socket, call: Callable[[], T], *, reading: bool) -> T:
    """What a call gives, for a socket with a time limit after waiting, as the socket module does:
    to the system such a socket is non-blocking."""
    timeout = sock.gettimeout()
    if not timeout:
        return call()
    deadline = monotonic() + timeout
    while (left := deadline - monotonic()) > 0:
        wanted = [sock.fileno()]
        if not any(select.select(wanted if reading else (), () if reading else wanted, (), left)):
            break
        try:
            return call()
        except BlockingIOError:
            continue
    raise TimeoutError("timed out")


def pack_name(family: int, address: Any) -> bytes:
    """``SOCKADDR_IN`` or ``SOCKADDR_IN6`` of a socket address whose host is a literal.

    :param family: Winsock's number.
    :raises ValueError: for a host that is no literal of the family.
    """
    host, port, *rest = address
    head: bytes = family.to_bytes(2, "little") + port.to_bytes(2, "big")
    # inet_pton is lax there: Wine's takes leading zeros, which others read as octal.
    packed = packed_literal(host)
    if packed is None or (":" in host) is not (family == INET6):
        raise ValueError(f"{host!r} is no address literal of this socket's family")
    if family == INET:
        return head + packed + bytes(8)
    if len(packed) == PACKED_IPV4_LENGTH:
        packed = MAPPED_PREFIX + packed
    flow, scope = (*rest, 0, 0)[:2]
    # The flow information goes in network order (RFC 3493, section 3.3).
    return head + struct.pack(">I16s", flow, packed) + struct.pack("<I", scope)


def unpack_name(name: bytes) -> Any:
    """The socket address in a ``SOCKADDR_IN`` or ``SOCKADDR_IN6``; None for another family."""
    family = int.from_bytes(name[:2], "little")
    port = int.from_bytes(name[2:4], "big")
    if family == INET:
        return socket.inet_ntop(socket.AF_INET, name[4:8]), port
    if family != INET6:
        return None
    host = socket.inet_ntop(socket.AF_INET6, name[8:24])
    return host, port, int.from_bytes(name[4:8], "big"), int.from_bytes(name[24:28], "little")


@cache
def structures() -> tuple[Any, Any]:
    """Winsock's ``WSABUF`` and ``WSAMSG`` (ws2def.h), in natural alignment."""
    import ctypes

    class WSABUF(ctypes.Structure):
        _fields_ = (("len", ctypes.c_uint32), ("buf", ctypes.c_void_p))

    class WSAMSG(ctypes.Structure):
        _fields_ = (
            ("name", ctypes.c_void_p),
            ("namelen", ctypes.c_int32),
            ("lpBuffers", ctypes.POINTER(WSABUF)),
            ("dwBufferCount", ctypes.c_uint32),
            ("Control", WSABUF),
            ("dwFlags", ctypes.c_uint32),
        )

    return WSABUF, WSAMSG


@cache
def _library() -> _Winsock:
    return _Winsock()


class _Buffers:
    """What one receive fills; reused while the sizes stay."""

    def __init__(self, size: int, control_size: int) -> None:
        import ctypes

        buffer, message = structures()
        self.sizes = size, control_size
        self.data = ctypes.create_string_buffer(size or 1)
        self.control = ctypes.create_string_buffer(control_size or 1)
        self.name = ctypes.create_string_buffer(NAME_SIZE)
        self.vector = buffer(size, ctypes.addressof(self.data))
        self.message = message(
            name=ctypes.addressof(self.name),
            lpBuffers=ctypes.pointer(self.vector),
            dwBufferCount=1,
        )
        if control_size:
            self.message.Control.buf = ctypes.addressof(self.control)
        self.received = ctypes.c_uint32()


class Outgoing:
    """What one send gives to ``WSASendMsg``; reused by the next one of its thread."""

    def __init__(self) -> None:
        import ctypes

        self._pointer: Any = ctypes.c_char_p
        self._address: Any = ctypes.c_void_p
        self._cast: Any = ctypes.cast
        buffer, message = structures()
        self._vector = buffer()
        self._message = message(lpBuffers=ctypes.pointer(self._vector), dwBufferCount=1)
        self.sent = ctypes.c_uint32()
        """How much was sent."""

    def filled(self, data: bytes, control: bytes, name: bytes) -> Any:
        """The ``WSAMSG`` of a datagram, good for as long as its three parts are."""
        message, vector = self._message, self._vector
        vector.len, vector.buf = len(data), self._at(data)
        message.namelen, message.name = len(name), self._at(name)
        message.Control.len, message.Control.buf = len(control), self._at(control)
        return message

    def _at(self, part: bytes) -> int | None:
        """Where bytes are; None for none."""
        if not part:
            return None
        address: int = self._cast(self._pointer(part), self._address).value
        return address


class _Winsock:
    """The functions of ws2_32, and what of each call is the same."""

    def __init__(self) -> None:
        import ctypes

        self._ctypes: Any = ctypes
        # use_last_error: ctypes swaps the thread's last error around each call.
        dll = self._ctypes.WinDLL("ws2_32", use_last_error=True)
        handle, pointer = ctypes.c_size_t, ctypes.c_void_p
        self._ioctl = dll.WSAIoctl
        self._ioctl.argtypes = (
            *(handle, ctypes.c_uint32, pointer, ctypes.c_uint32, pointer, ctypes.c_uint32),
            *(pointer, pointer, pointer),
        )
        self._send = dll.WSASendMsg
        self._send.argtypes = (handle, pointer, ctypes.c_uint32, pointer, pointer, pointer)
        self._receive: Any = None
        self._local = threading.local()

    def _failure(self) -> OSError:
        error: OSError = self._ctypes.WinError(self._ctypes.get_last_error())
        return error

    def _asked(self, sock: socket.socket, code: int, given: bytes, answer: Any) -> None:
        ctypes = self._ctypes
        returned = ctypes.c_uint32()
        size = ctypes.sizeof(answer) if answer is not None else 0
        failed = self._ioctl(
            sock.fileno(),
            code,
            given,
            len(given),
            ctypes.byref(answer) if answer is not None else None,
            size,
            ctypes.byref(returned),
            None,
            None,
        )
        if failed:
            raise self._failure()

    def ignore_refusals(self, sock: socket.socket) -> None:
        """Have no ICMP error of an earlier datagram end a receive. Python's ``socket.ioctl``
        refuses the code."""
        self._asked(sock, UDP_CONNRESET, bytes(4), None)

    def _receiver(self, sock: socket.socket) -> Any:
        if self._receive is None:
            ctypes = self._ctypes
            address = ctypes.c_void_p()
            self._asked(sock, GET_EXTENSION_FUNCTION_POINTER, RECVMSG, address)
            arguments = ctypes.c_size_t, *(ctypes.c_void_p,) * 4
            prototype = ctypes.WINFUNCTYPE(ctypes.c_int, *arguments, use_last_error=True)
            self._receive = prototype(address.value)
        return self._receive

    def _buffers(self, size: int, control_size: int) -> _Buffers:
        buffers: _Buffers | None = getattr(self._local, "buffers", None)
        if buffers is None or buffers.sizes != (size, control_size):
            buffers = self._local.buffers = _Buffers(size, control_size)
        return buffers

    def receive(
        self, sock: socket.socket, size: int, control_size: int, flags: int
    ) -> tuple[bytes, list[Message], int, Any]:
        """One datagram."""
        if not (size >= 0 and 0 <= control_size <= MAX_CONTROL):
            raise ValueError("negative or too large buffer size in recvmsg")
        ctypes = self._ctypes
        call = self._receiver(sock)
        buffers = self._buffers(size, control_size)
        message = buffers.message
        # What the call before has written to.
        message.namelen = NAME_SIZE
        message.Control.len = control_size
        message.dwFlags = flags
        failed = call(
            sock.fileno(), ctypes.byref(message), ctypes.byref(buffers.received), None, None
        )
        told = int(message.dwFlags) & ~flags
        length = int(buffers.received.value)
        if failed:
            if ctypes.get_last_error() != EMSGSIZE:
                raise self._failure()
            # The buffers are filled, but the count is left as it was: how much of them is the
            # datagram's can't be known, whichever of the two was too small.
            length = size
            told |= MSG_TRUNC
        data = ctypes.string_at(buffers.data, length)
        control = ctypes.string_at(buffers.control, message.Control.len)
        name = ctypes.string_at(buffers.name, message.namelen)
        return data, split(control), told, unpack_name(name)

    def send(
        self, sock: socket.socket, data: bytes, control: bytes, flags: int, name: bytes
    ) -> int:
        """One datagram."""
        ctypes = self._ctypes
        outgoing: Outgoing | None = getattr(self._local, "outgoing", None)
        if outgoing is None:
            outgoing = self._local.outgoing = Outgoing()
        message = outgoing.filled(data, control, name)
        sent = outgoing.sent
        if self._send(sock.fileno(), ctypes.byref(message), flags, ctypes.byref(sent), None, None):
            raise self._failure()
        return int(sent.value)
