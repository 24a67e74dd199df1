"""Who sent a datagram and where it arrived: found out once for each pair, then remembered."""

from __future__ import annotations

import socket
import struct
from typing import Any, Generic, NamedTuple, TypeVar

from dsadapter.addressing.mapped import MAPPED_PREFIX
from dsadapter.addressing.scope import is_group
from dsadapter.packetinfo import PacketInfo, _cmsg, platform
from dsadapter.packetinfo._recvmmsg import NAME_SIZE
from dsadapter.packetinfo.peers import PeerAddress, WayBack
from dsadapter.policy import ListenMode
from dsadapter.sockets.control_messages import Message, split
from dsadapter.sockets.ifaddrs import interface_name, is_in_vrf, scoped_text, serves_vrfs

Sender = tuple[PeerAddress, PacketInfo | None, bool, str | None]
"""Its address; the packet information of its datagrams; whether the kernel named it by a mapped
address; the counter to count a dropped datagram with, None to deliver it."""

CACHED = 6144
"""How many senders are known at most."""
_DESTINATIONS = 2048
"""The same of their destinations."""

_MSG_TRUNC = int(socket.MSG_TRUNC)
_MSG_CTRUNC = int(socket.MSG_CTRUNC)
_CUT = _MSG_TRUNC | _MSG_CTRUNC
_SCOPE = struct.Struct("@I")
_PREFIX_SIZE = len(MAPPED_PREFIX)

V = TypeVar("V")


class Recent(Generic[V]):
    """A bounded memory of two halves: what is asked for moves to the newer one, and when that is
    full the older one is forgotten.

    :param size: how many entries it has at most.
    """

    def __init__(self, size: int) -> None:
        self._half = size // 2
        self.newer: dict[Any, V] = {}
        self._older: dict[Any, V] = {}

    def recall(self, key: Any) -> V | None:
        """What is known of a key that is not in :attr:`newer`."""
        value = self._older.pop(key, None)
        if value is not None:
            self.add(key, value)
        return value

    def add(self, key: Any, value: V) -> None:
        """Remember a new entry."""
        newer = self.newer
        if len(newer) >= self._half:
            self._older = newer.copy()
            # The same object: a turn that is under way has it.
            newer.clear()
        newer[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self.newer.clear()
        self._older.clear()

    def __len__(self) -> int:
        return len(self.newer) + len(self._older)


class _Origin(NamedTuple):
    """What one control buffer says."""

    info: PacketInfo | None
    messages: list[Message]
    """Those that send an answer from where the datagram arrived."""
    mapped_distrust: str | None
    """Why to drop a datagram with a mapped source."""
    native_distrust: str | None
    """The same for any other source."""


class Senders:
    """The senders of one socket's datagrams.

    :param sock: with packet information asked for.
    :param mode: what the socket serves.
    :param owner: what the addresses of senders know their port by.
    :param size: how many are known at most.
    """

    def __init__(
        self, sock: socket.socket, mode: ListenMode, owner: object, size: int = CACHED
    ) -> None:
        self._owner = owner
        self._v6only = mode == "ipv6"
        self._ipv6 = sock.family == socket.AF_INET6
        self._family = int(sock.family)
        self._ipv4_message = platform.ipv4_message(sock)
        self._senders = Recent[Sender](size)
        self._origins = Recent[_Origin](min(size, _DESTINATIONS))
        self._serves_vrfs = serves_vrfs()
        self._interfaces: dict[int, tuple[str | None, bool]] = {}
        self._nowhere = self._origin(None)
        self.known = self._senders.newer
        """By what :meth:`of_envelope` and :meth:`of_message` take as a key."""

    def __len__(self) -> int:
        return len(self._senders)

    def forget(self) -> None:
        """Forget everything: an interface may have another name by now."""
        self._senders.clear()
        self._origins.clear()
        self._interfaces.clear()

    def of_envelope(self, envelope: bytes, flags: int) -> Sender:
        """The sender of a datagram of a batch.

        :param envelope: the socket address (:data:`NAME_SIZE` bytes) with the control messages
            after it.
        """
        known = None if flags & _CUT else self._senders.recall(envelope)
        if known is not None:
            return known
        control = envelope[NAME_SIZE:]
        origin = self._nowhere if flags & _MSG_CTRUNC else self._known_origin(control)
        if origin is None:
            origin = self._learned(control, split(control))
        port = int.from_bytes(envelope[2:4])
        if not self._ipv6:
            return self._sender(envelope, envelope[4:8], port, 0, origin, flags)
        [scope] = _SCOPE.unpack_from(envelope, 24)
        return self._sender(envelope, envelope[8:24], port, scope, origin, flags)

    def of_message(self, key: tuple[Any, ...], messages: list[Message], flags: int) -> Sender:
        """The sender of a datagram that came alone.

        :param key: the socket address, and the control messages as a tuple.
        """
        known = None if flags & _CUT else self._senders.recall(key)
        if known is not None:
            return known
        name, control = key
        origin = self._nowhere if flags & _MSG_CTRUNC else self._known_origin(control)
        if origin is None:
            origin = self._learned(control, messages)
        return self._sender(key, *_unpacked(name), origin, flags)

    def _known_origin(self, control: Any) -> _Origin | None:
        return self._origins.newer.get(control) or self._origins.recall(control)

    def _learned(self, control: Any, messages: list[Message]) -> _Origin:
        origin = self._origin(messages)
        if origin is not self._nowhere:
            self._origins.add(control, origin)
        return origin

    def _origin(self, messages: list[Message] | None) -> _Origin:
        arrival = _cmsg.read(messages, platform.DECODERS) if messages is not None else None
        if arrival is None and messages is not None:
            return self._nowhere
        mapped_distrust = native_distrust = None
        if self._ipv6:
            mapped_distrust = _cmsg.reason_to_distrust(True, arrival, self._ipv4_message)
            native_distrust = _cmsg.reason_to_distrust(False, arrival, self._ipv4_message)
            if self._v6only:
                mapped_distrust = "forged"
        if arrival is None:
            return _Origin(None, [], mapped_distrust, native_distrust)
        destination, index = arrival.destination, arrival.interface
        name, in_vrf = self._interface(index)
        info = PacketInfo(
            destination=scoped_text(destination, index),
            interface_index=index,
            interface_name=name,
            hop_limit=arrival.hop_limit,
            traffic_class=arrival.traffic_class,
        )
        # Routing alone would look in another table than a VRF's.
        answer_by = arrival.source_interface or (index if in_vrf else 0)
        messages = platform.source_messages(
            self._family, len(destination) == 4, arrival.source, answer_by
        )
        return _Origin(info, messages, mapped_distrust, native_distrust)

    def _interface(self, index: int) -> tuple[str | None, bool]:
        known = self._interfaces.get(index)
        if known is None:
            name = interface_name(index)
            in_vrf = self._serves_vrfs and name is not None and is_in_vrf(name)
            known = self._interfaces[index] = name, in_vrf
        return known

    def _sender(
        self, key: Any, packed: bytes, port: int, scope: int, origin: _Origin, flags: int
    ) -> Sender:
        mapped = self._ipv6 and packed.startswith(MAPPED_PREFIX)
        if mapped:
            packed = packed[_PREFIX_SIZE:]
            host = socket.inet_ntoa(packed)
            drop = origin.mapped_distrust
        else:
            host = scoped_text(packed, scope)
            drop = origin.native_distrust
        address = PeerAddress((host, port))
        if drop is None and (not port or is_group(packed)):
            drop = "unanswerable"
        address.way_back = (
            WayBack(self._owner, origin.messages, mapped, scope if self._ipv6 else None)
            if drop is None
            else None
        )
        if flags & _MSG_TRUNC and drop is None:
            drop = "truncated"
        sender = address, origin.info, mapped, drop
        # What has no packet information is counted each time, so it is not remembered.
        if origin.info is not None and not flags & _CUT:
            self._senders.add(key, sender)
        return sender


def _unpacked(name: tuple[Any, ...]) -> tuple[bytes, int, int]:
    if len(name) == 2:
        return socket.inet_aton(name[0]), name[1], 0
    return socket.inet_pton(socket.AF_INET6, name[0].partition("%")[0]), name[1], name[3]
