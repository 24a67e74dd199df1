"""Receiving datagrams with their packet information: what is real, what is forged, who sent it."""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from dsadapter.addressing.mapped import MAPPED_PREFIX
from dsadapter.addressing.scope import is_group
from dsadapter.packetinfo import PacketInfo, _cmsg, platform
from dsadapter.packetinfo._cmsg import Arrival, Message
from dsadapter.packetinfo._recvmmsg import (
    CONTROL_SIZE,
    NAME_SIZE,
    Batch,
    BatchUnavailableError,
)
from dsadapter.packetinfo.peers import PeerAddress, Route, remember
from dsadapter.policy import ListenMode, socket_name
from dsadapter.sockets.ifaddrs import interface_name, is_in_vrf, scoped_text

Datagram = tuple[bytes, PeerAddress, PacketInfo | None]
"""Payload, sender and packet information."""

CACHED = 2048
"""How many senders are known at most; when one more comes all are forgotten."""
_CACHED_SECONDS = 1.0
"""An interface may be renamed, and its index be another's."""

_MSG_TRUNC = int(socket.MSG_TRUNC)
_MSG_CTRUNC = int(socket.MSG_CTRUNC)
_CUT = _MSG_TRUNC | _MSG_CTRUNC
_MSG_ERRQUEUE = int(getattr(socket, "MSG_ERRQUEUE", 0))
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


class _Origin(NamedTuple):
    """What one control buffer says."""

    arrival: Arrival | None
    info: PacketInfo | None
    messages: list[Message]
    """Those that send an answer from where the datagram arrived."""


class _Sender(NamedTuple):
    """What one socket address and one control buffer say."""

    address: PeerAddress
    info: PacketInfo | None
    translated: bool
    drop: str | None
    """The counter to count a dropped datagram with; None to deliver it."""


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
        self._owner = owner
        self._mode = mode
        self._size = max_packet_size
        self._counters = counters
        self._dropped = dropped
        self._ipv6 = sock.family == socket.AF_INET6
        self._family = int(sock.family)
        self._ipv4_message = platform.ipv4_message(sock)
        self._descriptor = sock.fileno()
        self._origins: dict[Any, _Origin] = {}
        self._vrfs: dict[str, bool] = {}
        self._senders: dict[Any, _Sender] = {}
        self._forget_at = 0.0
        self._error: OSError | None = None
        self._batch: Batch | None = None
        self._can_batch = self.batches
        self._has_batched = False

    def receive(self, limit: int) -> tuple[list[Datagram], int, bool]:
        """Some of the datagrams that wait.

        :param limit: how many bytes to receive; one datagram more may exceed it.
        :returns: the datagrams; how many bytes were received, those of dropped datagrams and at
            least one for each included; whether no more were waiting.
        :raises OSError: an error that the socket has met, such as ECONNREFUSED; EBADF if the
            socket's descriptor has been taken away.
        """
        now = time.monotonic()
        if now >= self._forget_at:
            self._forget()
            self._forget_at = now + _CACHED_SECONDS
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._socket.fileno() != self._descriptor:
            # Its number may be somebody else's by now.
            raise OSError(errno.EBADF, "the descriptor of a datagram port was taken away")
        try:
            if self._can_batch:
                return self._receive_batch(limit)
            return self._receive_singly(limit)
        except BlockingIOError:
            return [], 0, True

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
        sender = self._sender_of(name, messages, flags)
        if sender.drop is not None:
            self._drop(sender)
            return None
        self._count(1, sender.translated)
        return sender.address, sender.info

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
            if drop is None:
                translated += mapped
                datagrams.append((data, address, info))
            else:
                self._drop(sender)
        self._count(len(datagrams), translated)
        return datagrams, size, drained

    def _sender_of(self, name: tuple[Any, ...], messages: list[Message], flags: int) -> _Sender:
        control = tuple(messages)
        sender = self._senders.get((name, control))
        if sender is None or flags & _CUT:
            packed, port, scope = _unpacked(name)
            told = None if flags & _MSG_CTRUNC else messages
            sender = self._learn((name, control), packed, port, scope, control, told, flags)
        return sender

    def _receive_batch(self, limit: int) -> tuple[list[Datagram], int, bool]:
        batch = self._batch
        try:
            if batch is None:
                batch = self._batch = Batch(self._size)
            wanted = limit // batch.size or 1
            if wanted > batch.slots:
                wanted = batch.slots
            received = batch.receive(self._descriptor, wanted)
        except BlockingIOError:
            raise
        except BatchUnavailableError:
            self._can_batch = False
            return self._receive_singly(limit)
        except OSError as error:
            # Sandboxes deny a call with whatever error they like.
            if self._has_batched or error.errno in _SAID_OF_PEERS:
                raise
            self._can_batch = False
            return self._receive_singly(limit)
        self._has_batched = True
        known = self._senders
        datagrams: list[Datagram] = []
        size = translated = 0
        for envelope, flags, data in received:
            size += len(data) or 1
            sender = known.get(envelope)
            if sender is None or flags & _CUT:
                sender = self._learn_raw(envelope, flags)
            address, info, mapped, drop = sender
            if drop is None:
                translated += mapped
                datagrams.append((data, address, info))
            else:
                self._drop(sender)
        self._count(len(datagrams), translated)
        return datagrams, size, len(received) < wanted

    def _count(self, received: int, translated: int) -> None:
        counters = self._counters
        counters.received += received
        counters.translated += translated

    def _learn_raw(self, key: bytes, flags: int) -> _Sender:
        control = key[NAME_SIZE:]
        told = None if flags & _MSG_CTRUNC else _cmsg.split(control)
        port = int.from_bytes(key[2:4])
        if not self._ipv6:
            return self._learn(key, key[4:8], port, 0, control, told, flags)
        [scope] = _SCOPE.unpack_from(key, 24)
        return self._learn(key, key[8:24], port, scope, control, told, flags)

    def _learn(
        self,
        key: Any,
        packed: bytes,
        port: int,
        scope: int,
        control: Any,
        messages: list[Message] | None,
        flags: int,
    ) -> _Sender:
        if messages is None:
            origin = _NOWHERE
        else:
            known = self._origins.get(control)
            if known is None:
                if len(self._origins) >= CACHED:
                    self._forget()
                known = self._origins[control] = self._origin(messages)
            origin = known
        sender = self._sender(packed, port, scope, origin)
        if flags & _MSG_TRUNC and sender.drop is None:
            sender = sender._replace(drop="truncated")
        if origin.arrival is None or sender.drop == "without_packet_info":
            # For each datagram: what is counted here is not remembered.
            self._counters.without_packet_info += 1
        elif not flags & _CUT:
            if len(self._senders) >= CACHED:
                self._forget()
            self._senders[key] = sender
        return sender

    def _origin(self, messages: list[Message]) -> _Origin:
        arrival = _cmsg.read(messages, platform.DECODERS)
        if arrival is None:
            return _NOWHERE
        destination, index = arrival.destination, arrival.interface
        name = interface_name(index)
        info = PacketInfo(
            destination=scoped_text(destination, index),
            interface_index=index,
            interface_name=name,
            hop_limit=arrival.hop_limit,
            traffic_class=arrival.traffic_class,
        )
        answer_by = arrival.source_interface
        if not answer_by and name is not None and self._is_in_vrf(name):
            # Routing alone would look in another table.
            answer_by = index
        answer = platform.source_messages(
            self._family, len(destination) == 4, arrival.source, answer_by
        )
        return _Origin(arrival, info, answer)

    def _is_in_vrf(self, name: str) -> bool:
        known = self._vrfs.get(name)
        if known is None:
            known = self._vrfs[name] = is_in_vrf(name)
        return known

    def _sender(self, packed: bytes, port: int, scope: int, origin: _Origin) -> _Sender:
        mapped = packed.startswith(MAPPED_PREFIX)
        source = packed[len(MAPPED_PREFIX) :] if mapped else packed
        host = scoped_text(source, scope)
        address = PeerAddress((host, port))
        drop = self._reason_to_drop(source, mapped, port, origin.arrival)
        if drop is None:
            wire: tuple[Any, ...] | None = (host, port)
            if not any(source):
                # To a socket the unspecified address is this machine's loopback.
                wire = None
            elif mapped:
                wire = (f"::ffff:{host}", port, 0, 0)
            elif self._ipv6:
                wire = (host.partition("%")[0], port, 0, scope)
            remember(address, self._owner, Route(wire, origin.messages))
        return _Sender(address, origin.info, mapped, drop)

    def _reason_to_drop(
        self, source: bytes, mapped: bool, port: int, arrival: Arrival | None
    ) -> str | None:
        if self._ipv6:
            if mapped and self._mode == "ipv6":
                return "forged"
            reason = _cmsg.reason_to_distrust(mapped, arrival, self._ipv4_message)
            if reason is not None:
                return reason
        if not port or is_group(source):
            return "unanswerable"
        return None

    def _drop(self, sender: _Sender) -> None:
        reason = sender.drop
        assert reason is not None
        if reason != "without_packet_info":
            setattr(self._counters, reason, getattr(self._counters, reason) + 1)
        where = "" if sender.info is None else f", sent to {sender.info.destination}"
        self._dropped(reason, f"from {socket_name(*sender.address)}{where}")

    def _forget(self) -> None:
        self._senders.clear()
        self._origins.clear()
        self._vrfs.clear()


_NOWHERE = _Origin(None, None, [])
_SCOPE = struct.Struct("@I")


def _unpacked(name: tuple[Any, ...]) -> tuple[bytes, int, int]:
    if len(name) == 2:
        return socket.inet_aton(name[0]), name[1], 0
    return socket.inet_pton(socket.AF_INET6, name[0].partition("%")[0]), name[1], name[3]
