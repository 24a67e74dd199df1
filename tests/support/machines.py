"""Machines without something, and a server on them that reports what it sees."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.namespaces import Namespace
from support.processes import Server, running_command

WITNESS = Path(__file__).parents[1] / "integration" / "servers" / "witness.py"
_V6ONLY = f"{int(socket.IPPROTO_IPV6)},{socket.IPV6_V6ONLY}"
NO_IPV6 = f"--deny-family={int(socket.AF_INET6)}=EAFNOSUPPORT"
NO_IPV6_BY_A_SANDBOX = f"--deny-family={int(socket.AF_INET6)}=EPERM"
NO_IPV4 = f"--deny-family={int(socket.AF_INET)}=EAFNOSUPPORT"
NO_OPTION = f"--deny-option={_V6ONLY}=EINVAL"
ABSENCES = ("ENOSYS", "ESOCKTNOSUPPORT", "EOPNOTSUPP")
"""What torsocks and some sandboxes say of a family that is not there, and of its options."""
NO_DUAL_STACK = f"--deny-clearing={_V6ONLY}=EINVAL"
"""As on OpenBSD, whose IPv6 sockets are always v6-only; takes root."""
_ASK = """
import socket, sys
family, kind, proto, _, address = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]))[0]
with socket.socket(family, socket.SOCK_STREAM) as client:
    client.connect(address)
    client.sendall(b"report")
    sys.stdin.readline()
"""


def saying(error: str, denial: str) -> str:
    """The same denial with another error."""
    return f"{denial.rpartition('=')[0]}={error}"


def first(server: Server, key: str) -> dict[str, Any]:
    """The next thing that a server says with that key in it."""
    while True:
        event = server.event()
        if key in event:
            return event


def announced(server: Server) -> tuple[dict[str, Any], list[str]]:
    """What a witness says of its port, and the warnings before that."""
    warnings = []
    while "port" not in (event := server.event()):
        assert "refused" not in event, event
        if "can't serve both families" in event.get("log", ""):
            warnings.append(event["log"])
    return event, warnings


@contextlib.contextmanager
def asked(host: str, port: int, prefix: tuple[str, ...] = ()) -> Iterator[None]:
    """A client that asks the witness for its report and stays."""
    with running_command([*prefix, sys.executable, "-c", _ASK, host, str(port)]) as client:
        yield
        client.say("done")


def reported(server: Server, host: str, port: int, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the witness reports of a connection."""
    with asked(host, port, prefix):
        return first(server, "built_with")


def listeners(place: Namespace | None, port: int) -> list[str]:
    """The lines of ``ss`` for the sockets that listen on a port."""
    command = ["ss", "-H", "-ltn", f"sport = :{port}"]
    prefix = place.prefix if place else ()
    with running_command([*prefix, *command]) as ss:
        ss.process.wait(timeout=60)
        return ss.stop().splitlines()


def switch_off_ipv6(place: Namespace) -> None:
    """As in most containers."""
    for scope in ("all", "default", "lo"):
        place.run("sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")
