"""The structures and numbers that stand for Winsock's, against the headers of mingw-w64.

What they are said to be is compiled for 64 and 32 bits, and not run.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import struct
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsadapter.packetinfo import _windows
from dsadapter.sockets import adapters, control_messages, winsock

COMPILERS = {8: "x86_64-w64-mingw32-gcc", 4: "i686-w64-mingw32-gcc"}
"""By the width of pointers, in bytes."""
PACKAGES = {8: "gcc-mingw-w64-x86-64-win32", 4: "gcc-mingw-w64-i686-win32"}
HEADERS = """
#include <stddef.h>
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <iphlpapi.h>
"""
CONSTANTS = {
    "SIO_GET_EXTENSION_FUNCTION_POINTER": winsock.GET_EXTENSION_FUNCTION_POINTER,
    "SIO_UDP_CONNRESET": winsock.UDP_CONNRESET,
    "WSAEMSGSIZE": winsock.EMSGSIZE,
    "MSG_TRUNC": winsock.MSG_TRUNC,
    "AF_INET": winsock.INET,
    "AF_INET6": winsock.INET6,
    "sizeof(SOCKADDR_IN6)": winsock.NAME_SIZE,
}


def compiler(width: int) -> str:
    found = shutil.which(COMPILERS[width])
    if found is None:
        pytest.skip(f"no {COMPILERS[width]}: apt-get install {PACKAGES[width]}")
    return found


def laid_out(kind: Any, width: int) -> tuple[int, int, dict[str, int]]:
    """Size, alignment and offsets of a structure of ctypes in natural alignment, where pointers
    have a width."""
    offsets: dict[str, int] = {}
    end, widest = 0, 1
    for name, field in kind._fields_:
        size = alignment = ctypes.sizeof(field)
        if issubclass(field, ctypes.Structure):
            size, alignment, _ = laid_out(field, width)
        elif field is ctypes.c_void_p or hasattr(field, "contents"):
            size = alignment = width
        end = -(-end // alignment) * alignment
        offsets[name] = end
        end += size
        widest = max(widest, alignment)
    return -(-end // widest) * widest, widest, offsets


def of_structures(width: int) -> Iterator[str]:
    for kind in winsock.structures():
        size, _, offsets = laid_out(kind, width)
        if width == ctypes.sizeof(ctypes.c_void_p):
            assert size == ctypes.sizeof(kind)
            assert offsets == {name: getattr(kind, name).offset for name in offsets}
        name = kind.__name__
        yield f"sizeof({name}) == {size}"
        for member, offset in offsets.items():
            yield f"offsetof({name}, {member}) == {offset}"
            yield f"sizeof((({name} *)0)->{member}) == {laid_out_size(kind, member, width)}"


def of_adapters(width: int) -> Iterator[str]:
    """As far as they are read: what comes after is left out."""
    for kind in adapters.structures():
        _, _, offsets = laid_out(kind, width)
        for member, offset in offsets.items():
            if not member.startswith("_"):
                yield f"offsetof({kind.__name__}, {member}) == {offset}"


def laid_out_size(kind: Any, member: str, width: int) -> int:
    only = type("Only", (ctypes.Structure,), {"_fields_": [(member, dict(kind._fields_)[member])]})
    return laid_out(only, width)[0]


def of_names() -> Iterator[str]:
    """Socket addresses, by what the packed ones have where."""
    ipv4 = winsock.pack_name(winsock.INET, ("1.2.3.4", 0x0506))
    yield f"sizeof(SOCKADDR_IN) == {len(ipv4)}"
    yield f"offsetof(SOCKADDR_IN, sin_port) == {ipv4.index(bytes([5, 6]))}"
    yield f"offsetof(SOCKADDR_IN, sin_addr) == {ipv4.index(bytes([1, 2, 3, 4]))}"
    ipv6 = winsock.pack_name(winsock.INET6, ("102:304::", 0x0506, 0x0A0B0C0D, 0x11121314))
    yield f"sizeof(SOCKADDR_IN6) == {len(ipv6)}"
    yield f"offsetof(SOCKADDR_IN6, sin6_port) == {ipv6.index(bytes([5, 6]))}"
    yield f"offsetof(SOCKADDR_IN6, sin6_flowinfo) == {ipv6.index(bytes([10, 11, 12, 13]))}"
    yield f"offsetof(SOCKADDR_IN6, sin6_addr) == {ipv6.index(bytes([1, 2, 3, 4]))}"
    yield f"offsetof(SOCKADDR_IN6, sin6_scope_id) == {ipv6.index(bytes([20, 19, 18, 17]))}"


def of_control_messages(width: int) -> Iterator[str]:
    """Headers and their padding. What is packed here is packed for this machine's own width."""
    address, interface = bytes([1, 2, 3, 4]), 0x11121314
    [(level, kind, ipv4)] = _windows.source_messages(winsock.INET6, True, address, interface)
    yield f"IPPROTO_IP == {level}"
    yield f"IP_PKTINFO == {kind}"
    yield f"sizeof(IN_PKTINFO) == {len(ipv4)}"
    yield f"offsetof(IN_PKTINFO, ipi_addr) == {ipv4.index(address)}"
    yield f"offsetof(IN_PKTINFO, ipi_ifindex) == {ipv4.index(struct.pack('<I', interface))}"
    native = address * 4
    [(level, kind, ipv6)] = _windows.source_messages(winsock.INET6, False, native, interface)
    yield f"IPPROTO_IPV6 == {level}"
    yield f"IPV6_PKTINFO == {kind}"
    yield f"sizeof(IN6_PKTINFO) == {len(ipv6)}"
    yield f"offsetof(IN6_PKTINFO, ipi6_addr) == {ipv6.index(native)}"
    yield f"offsetof(IN6_PKTINFO, ipi6_ifindex) == {ipv6.index(struct.pack('<I', interface))}"
    if width != ctypes.sizeof(ctypes.c_void_p):
        return
    for data in (b"", bytes(4), ipv4, ipv6):
        control = control_messages.join([(level, kind, data)])
        yield f"WSA_CMSG_SPACE({len(data)}) == {len(control)}"
        length = int.from_bytes(control[:8], "little")
        yield f"WSA_CMSG_LEN({len(data)}) == {length}"
    header = control_messages.join([(0x01020304, 0x05060708, b"")])
    yield f"sizeof(WSACMSGHDR) == {len(header)}"
    yield f"offsetof(WSACMSGHDR, cmsg_level) == {header.index(bytes([4, 3, 2, 1]))}"
    yield f"offsetof(WSACMSGHDR, cmsg_type) == {header.index(bytes([8, 7, 6, 5]))}"


def of_decoders() -> Iterator[str]:
    """The kinds of messages that are read."""
    names = {
        (0, 19): ("IPPROTO_IP", "IP_PKTINFO"),
        (0, 21): ("IPPROTO_IP", "IP_HOPLIMIT"),
        (0, 3): ("IPPROTO_IP", "IP_TOS"),
        (41, 19): ("IPPROTO_IPV6", "IPV6_PKTINFO"),
        (41, 21): ("IPPROTO_IPV6", "IPV6_HOPLIMIT"),
        (41, 39): ("IPPROTO_IPV6", "IPV6_TCLASS"),
    }
    assert names.keys() == _windows.DECODERS.keys()
    for numbers, spelled in names.items():
        for number, name in zip(numbers, spelled, strict=True):
            yield f"{name} == {number}"


@pytest.mark.parametrize("width", COMPILERS)
def test_structures_and_numbers_are_those_of_the_headers(width: int, tmp_path: Path) -> None:
    claims = [
        *of_structures(width),
        *of_adapters(width),
        *of_names(),
        *of_control_messages(width),
        *of_decoders(),
        *(f"{name} == {number}" for name, number in CONSTANTS.items()),
    ]
    source = tmp_path / "claims.c"
    source.write_text(HEADERS + "".join(f'_Static_assert({c}, "{c}");\n' for c in claims))
    command = [compiler(width), "-D_WIN32_WINNT=0x0A00", "-c", str(source), "-o", "claims.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("width", COMPILERS)
def test_the_function_is_asked_for_by_the_name_in_the_headers(width: int, tmp_path: Path) -> None:
    source = tmp_path / "name.c"
    source.write_text(HEADERS + "expanded WSAID_WSARECVMSG")
    command = [compiler(width), "-E", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second, third, *rest = (
        int(number, 16) for number in re.findall(r"0x(\w+)", done.stdout.split("expanded")[-1])
    )
    packed = struct.pack("<IHH8B", first, second, third, *rest)
    assert uuid.UUID(bytes_le=packed) == uuid.UUID(bytes_le=winsock.RECVMSG)
