"""Receiving datagrams with their packet information: what is real, what is forged, who sent it."""

from __future__ import annotations

import errno
import select
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from dsadapter.packetinfo import PacketInfo
from dsadapter.packetinfo._recvmmsg import (
    CONTROL_SIZE,
    NAME_SIZE,
    Batch,
    BatchUnavailableError,
    Received,
)
from dsadapter.packetinfo.peers import PeerAddress
from dsadapter.packetinfo.senders import Sender, Senders
from dsadapter.policy import ListenMode, socket_name
from dsadapter.sockets.control_messages import MSG_DONTWAIT, Message

Datagram = tuple[bytes, PeerAddress, PacketInfo | None]
"""Payload, sender and packet information."""

_CACHED_SECONDS = 1.0
"""An interface may be renamed, and its index be another's."""

_MSG_TRUNC = int(socket.MSG_TRUNC)
_MSG_CTRUNC = int(socket.MSG_CTRUNC)
_CUT = _MSG_TRUNC | _MSG_CTRUNC
# Windows' Python has a flag of that name, too, but none of our sockets has an error queue there:
# the call may take a datagram.
_MSG_ERRQUEUE = 0 if sys.platform == "win32" else int(getattr(socket, "MSG_ERRQUEUE", 0))
_POLLRDHUP: int | None = getattr(select, "POLLRDHUP", None)
# What ICMP says to a socket, and no sandbox to a call.
_SAID_OF_PEERS = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH}


@dataclass(slots=True, eq=False)
class Counters:
    """What one port has received in all its life. All but ``received`` and ``translated`` say why
    something did not reach the application."""

    received: int = 0
    """Datagrams that the application was given."""
    translated: int = 0
    """Those of them whose sender the kernel named by an IPv4-mapped address."""
    forged: int = 0
    """Dropped: IPv6 on the wire, with an IPv4-mapped address in it."""
    truncated: int = 0
    """Dropped: longer than the largest size that was asked for."""
    without_packet_info: int = 0
    """Datagrams without packet information. Dropped if their sender is IPv4 on a dual-stack socket:
    nothing then tells it from a forged one."""
    unanswerable: int = 0
    """Dropped: sent from port 0, from a multicast or from a broadcast address."""


class Receiver:
    """Receives what waits at one socket.

    :param sock: non-blocking, with packet information asked for.
    :param mode: what the socket serves.
    :param max_packet_size: longer datagrams are dropped.
    :param counters: what to count with.
    :param dropped: called for each datagram that is dropped, with the name of its counter and a
        text about the datagram.
    :param owner: what the addresses of senders know their port by; see
        :func:`~dsadapter.packetinfo.peers.way_back`.
    """

    batches = sys.platform.startswith("linux")
    """Whether new receivers get many datagrams with one call (``recvmmsg``), where that is
    allowed."""

    def __init__(
        self,
        sock: socket.socket,
        mode: ListenMode,
        max_packet_size: int,
        counters: Counters,
        dropped: Callable[[str, str], None],
        owner: object,
    ) -> None:
        self._socket = sock
        self._size = max_packet_size
        self._counters = counters
        self._dropped = dropped
        self._descriptor = sock.fileno()
        self._senders = Senders(sock, mode, owner)
        self._forget_at = 0.0
        self._error: OSError | None = None
        self._batch: Batch | None = None
        self._can_batch = self.batches
        # Always the same object.
        self._known = self._senders.known

    def receive(self, limit: int) -> tuple[list[Datagram], int, bool]:
        """Some of the datagrams that wait.

        :param limit: how many bytes to receive; one datagram more may exceed it.
        :returns: the datagrams; how many bytes were received, those of dropped datagrams and at
            least one for each included; whether no more were waiting.
        :raises OSError: an error that the socket has met, such as ECONNREFUSED; EBADF if the
            socket's descriptor has been taken away.
        """
        now = monotonic()
        if now >= self._forget_at:
            self._senders.forget()
            self._forget_at = now + _CACHED_SECONDS
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        descriptor = self._descriptor
        if self._socket.fileno() != descriptor:
            # Its number may be somebody else's by now.
            raise OSError(errno.EBADF, "the descriptor of a datagram port was taken away")
        batch = self._batch
        if batch is None:
            return self._receive_first(limit)
        wanted = limit // batch.size or 1
        if wanted > batch.slots:
            wanted = batch.slots
        count = batch.call(descriptor, batch.address, wanted, MSG_DONTWAIT, None)
        if count != 1:
            return self._received(batch, count, wanted)
        # The most frequent case of all, without a frame of its own.
        control_length, flags, size = batch.read_first(batch.first)
        envelope = batch.envelopes[: NAME_SIZE + control_length].tobytes()
        data = batch.payloads[:size].tobytes()
        # The kernel has written to the lengths.
        batch.first[:] = batch.fresh
        sender = self._known.get(envelope)
        if sender is None or flags & _CUT:
            return self._judge([(envelope, flags, data)], wanted)
        address, info, mapped, drop = sender
        if drop is not None:
            return self._judge([(envelope, flags, data)], wanted)
        counters = self._counters
        counters.received += 1
        if mapped:
            counters.translated += 1
        return [(data, address, info)], size or 1, wanted > 1

    def _receive_first(self, limit: int) -> tuple[list[Datagram], int, bool]:
        """Before the first batch, and where there are none."""
        if self._can_batch:
            try:
                batch = Batch(self._size)
                wanted = min(limit // batch.size or 1, batch.slots)
                count = batch.call(self._descriptor, batch.address, wanted, MSG_DONTWAIT, None)
                received = self._received(batch, count, wanted)
            except BatchUnavailableError:
                self._can_batch = False
            except OSError as error:
                # Sandboxes deny a call with whatever error they like.
                if error.errno in _SAID_OF_PEERS:
                    raise
                self._can_batch = False
            else:
                if count > 0:
                    self._batch = batch
                return received
        try:
            return self._receive_singly(limit)
        except BlockingIOError:
            return [], 0, True

    def _received(self, batch: Batch, count: int, wanted: int) -> tuple[list[Datagram], int, bool]:
        """What has come of a call.

        :raises OSError: if it has failed.
        """
        while count < 0:
            failure = batch.failure()
            if isinstance(failure, BlockingIOError):
                return [], 0, True
            if failure is not None:
                raise failure
            count = batch.call(self._descriptor, batch.address, wanted, MSG_DONTWAIT, None)
        return self._judge(batch.take(count), wanted)

    def _judge(self, received: list[Received], wanted: int) -> tuple[list[Datagram], int, bool]:
        known = self._known
        datagrams: list[Datagram] = []
        size = translated = 0
        for envelope, flags, data in received:
            size += len(data) or 1
            sender = known.get(envelope)
            if sender is None or flags & _CUT:
                sender = self._senders.of_envelope(envelope, flags)
            address, info, mapped, drop = sender
            if info is None and drop != "without_packet_info":
                self._counters.without_packet_info += 1
            if drop is None:
                translated += mapped
                datagrams.append((data, address, info))
            else:
                self._drop(drop, address, info)
        self._count(len(datagrams), translated)
        return datagrams, size, len(received) < wanted

    def find_why_nothing_came(self) -> None:
        """Look why a socket was said to be readable and is not.

        :raises OSError: ESHUTDOWN if somebody has shut it down: it would be readable for ever.
        """
        self.discard_errors()
        if _POLLRDHUP is None:
            return
        poll = select.poll()
        poll.register(self._descriptor, _POLLRDHUP)
        if poll.poll(0):
            raise OSError(errno.ESHUTDOWN, "the socket of a datagram port was shut down")

    def judged(
        self, name: tuple[Any, ...], messages: list[Message], flags: int
    ) -> tuple[PeerAddress, PacketInfo | None] | None:
        """Who has sent a datagram that somebody else has received, and where it arrived.

        :param name: what the kernel calls its sender.
        :param messages: its control messages.
        :param flags: what ``recvmsg`` has said of it.
        :returns: None for one that is to be dropped, which has been counted and told.
        """
        address, info, mapped, drop = self._sender_of(name, messages, flags)
        if info is None and drop != "without_packet_info":
            self._counters.without_packet_info += 1
        if drop is not None:
            self._drop(drop, address, info)
            return None
        self._count(1, mapped)
        return address, info

    def discard_errors(self) -> None:
        """Empty the error queue, if somebody has asked for one; left alone it would never let the
        reactor rest."""
        if not _MSG_ERRQUEUE:
            return
        try:
            while True:
                self._socket.recvmsg(1, 0, _MSG_ERRQUEUE)
        except OSError:
            pass

    def _receive_singly(self, limit: int) -> tuple[list[Datagram], int, bool]:
        receive = self._socket.recvmsg
        datagrams: list[Datagram] = []
        size = translated = 0
        drained = False
        while size < limit:
            try:
                data, messages, flags, name = receive(self._size, CONTROL_SIZE)
            except BlockingIOError:
                drained = True
                break
            except OSError as error:
                if not size:
                    raise
                self._error = error
                break
            size += len(data) or 1
            sender = self._sender_of(name, messages, flags)
            address, info, mapped, drop = sender
            if info is None and drop != "without_packet_info":
                self._counters.without_packet_info += 1
            if drop is None:
                translated += mapped
                datagrams.append((data, address, info))
            else:
                self._drop(drop, address, info)
        self._count(len(datagrams), translated)
        return datagrams, size, drained

    def _sender_of(self, name: tuple[Any, ...], messages: list[Message], flags: int) -> Sender:
        key = name, tuple(messages)
        sender = self._senders.known.get(key)
        if sender is None or flags & _CUT:
            sender = self._senders.of_message(key, messages, flags)
        return sender

    def _count(self, received: int, translated: int) -> None:
        counters = self._counters
        counters.received += received
        counters.translated += translated

    def _drop(self, reason: str, address: PeerAddress, info: PacketInfo | None) -> None:
        setattr(self._counters, reason, getattr(self._counters, reason) + 1)
        where = "" if info is None else f", sent to {info.destination}"
        self._dropped(reason, f"from {socket_name(*address)}{where}")
