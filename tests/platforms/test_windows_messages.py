"""What Windows is given to send a datagram from a chosen address, read by its headers' macros."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from support.wine import Windows

PROGRAMS = Path(__file__).parent / "programs"
COMPILER = "x86_64-w64-mingw32-gcc"
INET, INET6 = "0200" + "0035", "1700" + "0035"
"""Family, in Windows' order and numbers, and port 53 in the network's."""


def packed(address: str) -> str:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address).hex()


def name6(address: str, scope: int = 0) -> str:
    return INET6 + bytes(4).hex() + packed(address) + scope.to_bytes(4, "little").hex()


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"needs {COMPILER}")
def test_sources_are_where_the_headers_look_for_them(windows: Windows, tmp_path: Path) -> None:
    library = tmp_path / "describe.dll"
    source = PROGRAMS / "describe.c"
    command = [COMPILER, "-Wall", "-Werror", "-shared", "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=60)
    data = "data " + b"hello".hex()
    with windows.program(PROGRAMS / "described_messages.py", library) as program:
        said = [program.event()["said"] for _ in range(5)]
    assert said == [
        [
            "to " + INET + packed("192.0.2.1") + bytes(8).hex(),
            data,
            "IN_PKTINFO 3 " + packed("127.0.0.2"),
        ],
        [
            "to " + name6("::ffff:192.0.2.1"),
            data,
            "IN_PKTINFO 0 " + packed("127.0.0.2"),
        ],
        [
            "to " + name6("fe80::1", 7),
            data,
            "IN6_PKTINFO 7 " + packed("2001:db8::2"),
        ],
        [
            "to " + name6("ff02::1", 7),
            data,
            "IN6_PKTINFO 7 " + packed("::"),
        ],
        ["to " + name6("::ffff:192.0.2.1"), data],
    ]
