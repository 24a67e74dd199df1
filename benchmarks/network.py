"""A network of the benchmark's own, on which nobody has to answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The prefixes of documentation (RFC 5737, RFC 3849): here they lead nowhere else.
LIVE = {"ipv4": "192.0.2.1", "ipv6": "2001:db8::1"}
"""Addresses to serve on."""
NEAR = {"ipv4": "203.0.113.1", "ipv6": "2001:db8:2::1"}
"""Addresses to serve on at the end of the long wire."""
FAR = {"ipv4": "203.0.113.2", "ipv6": "2001:db8:2::2"}
"""Where these are seen at its other end."""
WIRE = "wire"
"""The TUN device of the long wire."""
_REFUSING = {"ipv4": "192.0.2.{}", "ipv6": "2001:db8::{}"}
_SILENT = {"ipv4": "198.51.100.{}", "ipv6": "2001:db8:1::{}"}
_COMMANDS = """
link set lo up
address add 192.0.2.1/32 dev lo
address add 2001:db8::1/128 dev lo
route add local 192.0.2.0/24 dev lo
route add local 2001:db8::/64 dev lo
link add hole type veth peer name bottom
link set hole arp off up
link set bottom up
address add 198.51.100.1/24 dev hole
address add 2001:db8:1::1/64 dev hole nodad
tuntap add dev wire mode tun
link set wire up
address add 203.0.113.1/24 dev wire
address add 2001:db8:2::1/64 dev wire nodad
"""


class UnavailableError(Exception):
    """There can't be such a network here; says why."""


def refusing(family: str, number: int) -> list[str]:
    """Addresses that nobody listens on."""
    return [_REFUSING[family].format(10 + each) for each in range(number)]


def silent(family: str, number: int) -> list[str]:
    """Addresses that never answer: their packets go down a wire at whose end nobody lives."""
    return [_SILENT[family].format(10 + each) for each in range(number)]


@contextmanager
def network() -> Iterator[list[str]]:
    """A network namespace while it lasts: the words to put before a command to run inside it.

    :raises UnavailableError: if this machine or this user can't have one.
    """
    if reason := _missing():
        raise UnavailableError(f"a network of the benchmark's own, in a namespace, needs {reason}")
    name = f"dsadapter-benchmark-{os.getpid()}"
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "-batch", "-", given=_COMMANDS.strip())
        yield ["ip", "netns", "exec", name]
    finally:
        _ip("netns", "delete", name)


def _missing() -> str | None:
    if not hasattr(os, "geteuid") or os.geteuid():
        return "root"
    if shutil.which("ip") is None:
        return "the command ip (iproute2)"
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun"
    return None


def _ip(*words: str, given: str = "") -> None:
    done = subprocess.run(["ip", *words], check=False, input=given, capture_output=True, text=True)
    if done.returncode:
        raise UnavailableError(f"ip {' '.join(words)}: {' '.join(done.stderr.split())}")
