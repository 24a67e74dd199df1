"""A network of the benchmark's own, on which nobody has to answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

# The prefixes of documentation (RFC 5737, RFC 3849): here they lead nowhere else.
LIVE = {"ipv4": "192.0.2.1", "ipv6": "2001:db8::1"}
"""Addresses to serve on."""
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
"""


def why_not() -> str | None:
    """Why there can't be such a network; None if there can."""
    if not hasattr(os, "geteuid") or os.geteuid():
        return "network namespaces, where addresses may be silent, need root"
    if shutil.which("ip") is None:
        return "network namespaces, where addresses may be silent, need the command ip (iproute2)"
    return None


def refusing(family: str, number: int) -> list[str]:
    """Addresses that nobody listens on."""
    return [_REFUSING[family].format(10 + each) for each in range(number)]


def silent(family: str, number: int) -> list[str]:
    """Addresses that never answer: their packets go down a wire at whose end nobody lives."""
    return [_SILENT[family].format(10 + each) for each in range(number)]


@contextmanager
def network() -> Iterator[list[str]]:
    """A network namespace while it lasts: the words to put before a command to run inside it.

    :raises subprocess.CalledProcessError: if this machine refuses to make one.
    """
    name = f"dsadapter-benchmark-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(
            ["ip", "-n", name, "-batch", "-"], check=True, input=_COMMANDS.strip(), text=True
        )
        yield ["ip", "netns", "exec", name]
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
