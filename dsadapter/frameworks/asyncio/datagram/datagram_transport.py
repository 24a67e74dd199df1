"""A datagram transport for any loop, on a port that serves both families."""

from __future__ import annotations

import asyncio
import errno
import sys
from asyncio.trsock import TransportSocket
from collections import deque
from collections.abc import Iterator
from socket import socket
from typing import Any, NamedTuple

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.datagrams import Counters, DatagramPort
from dsadapter.datagrams.served import ServedSocket
from dsadapter.frameworks.selecting import watching_of
from dsadapter.messages import quoted
from dsadapter.packetinfo.peers import PeerAddress
from dsadapter.packetinfo.receiving import Datagram
from dsadapter.packetinfo.senders import CACHED, Recent
from dsadapter.sockets.system_errors import system_error

_READ_AT_ONCE = 256 * 1024
"""Bytes to receive before the loop gets its turn, as many as asyncio reads from a stream."""
_HIGH_WATER = 64 * 1024
# asyncio sends an empty datagram since 3.13.
_SENDS_EMPTY = sys.version_info >= (3, 13)


class _Waiting(NamedTuple):
    """A datagram that the kernel has no room for yet."""

    data: bytes
    address: tuple[str, int] | None
    source: str | None
    interface: str | int | None


class DualStackDatagramTransport(asyncio.DatagramTransport):
    """What :func:`create_datagram_endpoint` makes: an ``asyncio.DatagramTransport`` whose peers are
    canonical, in tuples of their family's length.

    A protocol with a method ``packet_received(data, addr, info)`` gets that called in place of
    ``datagram_received``, with a :class:`~dsadapter.packetinfo.PacketInfo`.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, port: DatagramPort, protocol: asyncio.BaseProtocol
    ) -> None:
        super().__init__()
        self._loop = loop
        self._watching = watching_of(loop)
        self._port = port
        self._protocol: Any = protocol
        self._peers = Recent[PeerAddress](CACHED)
        self._buffer: deque[_Waiting] = deque()
        self._buffered = 0
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        self._paused = False
        self._closing = False
        self._resuming: dict[ServedSocket, asyncio.TimerHandle] = {}
        self._full: socket | None = None
        self._names: dict[str, Any] = {}

    def start(self) -> None:
        """Tell the protocol, then receive."""
        sockets = tuple(TransportSocket(each.sock) for each in self._port.served)
        sock = self._port.sock
        self._names = {
            "socket": sockets[0],
            "sockets": sockets,
            "sockname": sock.getsockname(),
        }
        if self._port.peer is not None:
            self._names["peername"] = sock.getpeername()
        try:
            self._protocol.connection_made(self)
        except BaseException:
            # Whoever has called closes the sockets, and nothing may wait for them then.
            self._closing = True
            self._drop_buffer()
            raise
        if not self._closing:
            for served in self._port.served:
                self._watch(served)

    @property
    def counters(self) -> Counters:
        """What has been received, and what was dropped for which reason."""
        return self._port.counters

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``"peername"``, ``"sockname"`` and ``"socket"``, all canonical; and ``"sockets"``, all of
        them where there are several, of which the first is ``"socket"``."""
        return self._names.get(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that gets the datagrams."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give datagrams to another protocol."""
        self._protocol = protocol

    def is_closing(self) -> bool:
        """Whether it is closed, or will be when everything is sent."""
        return self._closing

    def close(self) -> None:
        """Receive no more, and close when everything is sent."""
        if self._closing:
            return
        self._closing = True
        self._unwatch()
        if not self._buffer:
            self._loop.call_soon(self._lost, None)

    def abort(self) -> None:
        """Close at once; what waits to be sent is gone."""
        self._abort(None)

    def sendto(
        self,
        data: bytes | bytearray | memoryview,
        addr: Any = None,
        source: str | None = None,
        interface: str | int | None = None,
    ) -> None:
        """Send a datagram, now or when the kernel has room for it.

        :param addr: ``(host, port)``, or four items for IPv6, the host an address literal of either
            family; None for the peer of a connected transport. A peer that a datagram has come from
            is answered from where that arrived.
        :param source: the local address to send from.
        :param interface: the name or the index of the interface to send by.
        :raises TypeError: for what is no bytes.
        :raises ValueError: for what is no address, or none that fits, with the remedy.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if self._closing or (not data and not _SENDS_EMPTY):
            return
        datagram = _Waiting(bytes(data), self._destination(addr), source, interface)
        if self._buffer or not self._sent(datagram):
            if not self._buffer:
                self._wait_for_room()
            self._buffer.append(datagram)
            self._buffered += len(datagram.data)
            self._pause_if_full()

    def get_write_buffer_size(self) -> int:
        """How many bytes wait to be sent."""
        return self._buffered

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high mark at which the protocol resumes and pauses writing."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, as for every asyncio transport.

        :raises ValueError: unless ``high >= low >= 0``.
        """
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._pause_if_full()

    def deliver(self, arrived: Iterator[Datagram]) -> None:
        """Give the protocol what has come; called by the port."""
        protocol: Any = None
        for data, peer, info in arrived:
            if self._closing:
                return
            if protocol is not self._protocol:
                protocol = self._protocol
                informed = getattr(protocol, "packet_received", None)
            try:
                if informed is not None:
                    informed(data, self._shown(peer), info)
                else:
                    protocol.datagram_received(data, self._shown(peer))
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._report("a protocol failed to take a datagram", error)

    def refused(self) -> None:
        """The peer has refused a datagram; called by the port."""
        self.failed(system_error(errno.ECONNREFUSED))

    def failed(self, error: OSError) -> None:
        """Tell the protocol of an error; called by the port with what ICMP says of the peer."""
        self._tell("error_received", error)

    def _shown(self, peer: PeerAddress) -> SocketAddress:
        host, number = peer
        if ":" not in host:
            shown: SocketAddress = peer
            return shown
        way = peer.way_back
        # The interface may be gone, or have another name by now.
        shown = (host, number, 0, way.scope or 0 if way is not None and "%" in host else 0)
        if self._peers.newer.get(shown) is not peer:
            self._peers.add(shown, peer)
        return shown

    def _destination(self, addr: Any) -> tuple[str, int] | None:
        if addr is None or isinstance(addr, PeerAddress):
            return addr
        if not isinstance(addr, tuple) or not 2 <= len(addr) <= 4:
            raise ValueError(
                f"{quoted(addr)} is not an address; give (host, port), or four items for IPv6"
            )
        try:
            peer = self._peers.newer.get(addr) or self._peers.recall(addr)
        except TypeError:
            # What has no hash is no address; the port says what is wrong with it.
            peer = None
        if peer is not None:
            return peer
        host, port, *more = addr
        if len(more) == 2 and more[1] and isinstance(host, str) and "%" not in host:
            host = f"{host}%{more[1]}"
        return host, port

    def _sent(self, datagram: _Waiting) -> bool:
        """False if the kernel has no room for it."""
        try:
            # What an earlier datagram met takes the place of this one's sending, once.
            if self._port.send(*datagram) is None and not self._closing:
                self._port.send(*datagram)
        except BlockingIOError:
            return False
        except OSError as error:
            self.failed(error)
        return True

    def _write(self) -> None:
        # Those that a protocol sends when it is told of an error wait for the next turn.
        for _ in range(len(self._buffer)):
            if not self._buffer:
                # The protocol has aborted.
                break
            datagram = self._buffer.popleft()
            self._buffered -= len(datagram.data)
            try:
                has_room = self._sent(datagram)
            except ValueError as error:
                # Nobody has looked at its address before.
                self._report("a datagram that had to wait can't be sent", error)
                continue
            if not has_room:
                self._buffer.appendleft(datagram)
                self._buffered += len(datagram.data)
                break
        if self._buffer:
            # Anew: another socket may be full by now, and libuv stops watching at an error.
            self._wait_for_room()
        else:
            self._wait_no_more()
            if self._closing:
                self._loop.call_soon(self._lost, None)
                return
        if self._paused and self._buffered <= self._low:
            self._paused = False
            self._tell("resume_writing")

    def _pause_if_full(self) -> None:
        if not self._paused and self._buffered > self._high:
            self._paused = True
            self._tell("pause_writing")

    def _wait_for_room(self) -> None:
        """Write again when the socket has room that had none."""
        self._wait_no_more()
        self._full = self._port.full
        self._watching.add_writer(self._full.fileno(), self._write)

    def _wait_no_more(self) -> None:
        full, self._full = self._full, None
        if full is not None:
            self._watching.remove_writer(full.fileno())

    def _drop_buffer(self) -> None:
        self._wait_no_more()
        self._buffer.clear()
        self._buffered = 0

    def _watch(self, served: ServedSocket) -> None:
        self._resuming.pop(served, None)
        self._watching.add_reader(served.sock.fileno(), self._read, served)

    def _unwatch(self) -> None:
        for served in self._port.served:
            resuming = self._resuming.pop(served, None)
            if resuming is not None:
                resuming.cancel()
            elif self._port.is_open:
                self._watching.remove_reader(served.sock.fileno())

    def _read(self, served: ServedSocket) -> None:
        try:
            rest = self._port.read(_READ_AT_ONCE, served)
        except OSError as error:
            self._report("a datagram socket is of no more use", error)
            self._abort(error)
            return
        if rest is not None and not self._closing:
            self._watching.remove_reader(served.sock.fileno())
            self._resuming[served] = self._loop.call_later(rest, self._watch, served)

    def _abort(self, error: BaseException | None) -> None:
        if not self._port.is_open:
            return
        self._drop_buffer()
        if not self._closing:
            self._closing = True
            self._unwatch()
        self._loop.call_soon(self._lost, error)

    def _lost(self, error: BaseException | None) -> None:
        if not self._port.is_open:
            return
        self._port.end()
        try:
            self._protocol.connection_lost(error)
        finally:
            self._port.close()

    def _tell(self, method: str, *args: Any) -> None:
        try:
            # Not every protocol has each; a loop's turn must not end at that.
            getattr(self._protocol, method)(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._report(f"{method}() failed", error)

    def _report(self, message: str, error: BaseException) -> None:
        self._loop.call_exception_handler(
            {
                "message": message,
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )
