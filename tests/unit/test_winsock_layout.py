"""The parts of Winsock's interface that need no Windows: structures, names and control messages."""

from __future__ import annotations

import ctypes
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsadapter.packetinfo import _cmsg, _windows
from dsadapter.sockets.winsock import pack_name, structures, unpack_name

WINDOWS_INET6 = 23

ports = st.integers(0, 65535)


class TestStructures:
    def test_a_buffer_has_its_length_first(self) -> None:
        buffer, _ = structures()

        assert (ctypes.sizeof(buffer), buffer.len.offset, buffer.buf.offset) == (16, 0, 8)

    def test_a_message_is_laid_out_as_the_headers_have_it(self) -> None:
        _, message = structures()
        names = ("name", "namelen", "lpBuffers", "dwBufferCount", "Control", "dwFlags")

        assert ctypes.sizeof(message) == 56
        assert [getattr(message, name).offset for name in names] == [0, 8, 16, 24, 32, 48]


class TestNames:
    @given(st.ip_addresses(v=4), ports)
    def test_an_ipv4_name_comes_out_as_it_went_in(self, host: object, port: int) -> None:
        packed = pack_name(2, (str(host), port))

        assert len(packed) == 16
        assert unpack_name(packed) == (str(host), port)

    @given(st.ip_addresses(v=6), ports, st.integers(0, 0xFFFFF), st.integers(0, 2**32 - 1))
    def test_an_ipv6_name_does_too(self, host: object, port: int, flow: int, scope: int) -> None:
        packed = pack_name(WINDOWS_INET6, (str(host), port, flow, scope))

        assert len(packed) == 28
        name, *rest = unpack_name(packed)
        assert socket.inet_pton(socket.AF_INET6, name) == host.packed  # type: ignore[attr-defined]
        assert rest == [port, flow, scope]

    def test_an_ipv6_name_may_go_without_flow_and_scope(self) -> None:
        assert unpack_name(pack_name(WINDOWS_INET6, ("::1", 53))) == ("::1", 53, 0, 0)

    @pytest.mark.parametrize(
        ("family", "host"),
        [
            (2, "::1"),
            (2, "::ffff:1.2.3.4"),
            (WINDOWS_INET6, "localhost"),
            (WINDOWS_INET6, "1.2.3.4"),
        ],
    )
    def test_a_host_that_is_no_literal_of_the_family_is_named(self, family: int, host: str) -> None:
        with pytest.raises(ValueError, match=f"'{host}' is no address literal"):
            pack_name(family, (host, 53))

    @pytest.mark.parametrize("family", [2, WINDOWS_INET6])
    def test_a_host_with_leading_zeros_is_not_guessed_at(self, family: int) -> None:
        host = "010.0.0.1" if family == 2 else "::ffff:010.0.0.1"
        with pytest.raises(ValueError, match="leading zeros"):
            pack_name(family, (host, 53))

    def test_a_mapped_host_is_packed_as_one(self) -> None:
        packed = pack_name(WINDOWS_INET6, ("::ffff:1.2.3.4", 53))
        assert unpack_name(packed) == ("::ffff:1.2.3.4", 53, 0, 0)

    def test_a_name_of_another_family_says_nothing(self) -> None:
        assert unpack_name(bytes(28)) is None


class TestPacketInfo:
    def read(self, *messages: tuple[int, int, bytes]) -> _cmsg.Arrival | None:
        return _cmsg.read(messages, _windows.DECODERS)

    ipv4 = (0, 19, b"\x7f\0\0\x02" + struct.pack("@I", 1))
    mapped = (41, 19, bytes(10) + b"\xff\xff\x7f\0\0\x02" + struct.pack("@I", 1))

    @pytest.mark.parametrize("messages", [(ipv4,), (mapped,), (ipv4, mapped), (mapped, ipv4)])
    def test_either_shape_of_an_ipv4_datagram_is_understood(
        self, messages: tuple[tuple[int, int, bytes], ...]
    ) -> None:
        arrival = self.read(*messages)

        assert arrival is not None
        assert (arrival.destination, arrival.interface) == (b"\x7f\0\0\x02", 1)
        assert arrival.source == b"\x7f\0\0\x02"

    def test_linux_longer_structure_is_none_of_windows(self) -> None:
        assert self.read((0, 19, bytes(12))) is None

    def test_a_source_is_named_by_the_family_of_the_destination(self) -> None:
        source = b"\x7f\0\0\x02"

        assert _windows.source_messages(WINDOWS_INET6, True, source, 3) == [
            (0, 19, source + struct.pack("@I", 3))
        ]
        assert _windows.source_messages(WINDOWS_INET6, False, bytes(15) + b"\1", 0) == [
            (41, 19, bytes(15) + b"\1" + bytes(4))
        ]
        assert _windows.source_messages(WINDOWS_INET6, True, None, 0) == []
