"""Network namespaces that a test makes and takes away."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="network namespaces need root"
)
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
# Where ``ip netns exec`` looks for what a namespace has instead of the files in /etc.
_CONFIGURATION = Path("/etc/netns")


class Namespace:
    """A network namespace with its loopback up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = ("ip", "netns", "exec", name)
        """The words to put before a command that runs inside."""

    def run(self, *argv: str) -> str:
        """Run a command inside to its end and return its standard output."""
        done = subprocess.run(
            [*self.prefix, *argv], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
        return done.stdout

    def configure(self, file: str, text: str) -> None:
        """What commands that run inside see as a file of /etc."""
        folder = _CONFIGURATION / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)

    def add_addresses(self, interface: str, *addresses: str) -> None:
        """Give an interface addresses that can be used at once; a prefix that an address is given
        without is ``/64`` or ``/24``."""
        for address in addresses:
            prefix = "" if "/" in address else "/64" if ":" in address else "/24"
            options = ["nodad"] if ":" in address else []
            self.run("ip", "address", "add", address + prefix, *options, "dev", interface)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Open sockets inside: this thread's sockets are the namespace's, for good."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            self._enter(os.open(f"/run/netns/{self.name}", os.O_RDONLY))
            try:
                yield
            finally:
                self._enter(os.dup(own))
        finally:
            os.close(own)

    def _enter(self, descriptor: int) -> None:
        try:
            failed = _libc.setns(descriptor, _CLONE_NEWNET)
            assert not failed, os.strerror(ctypes.get_errno())
        finally:
            os.close(descriptor)


def connect_namespaces(near: Namespace, far: Namespace, name: str = "wire") -> None:
    """A wire between two namespaces, with the same name at both ends."""
    near.run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", far.name)
    for end in (near, far):
        end.run("ip", "link", "set", name, "up")


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """A new network namespace; nothing in it reaches this machine's networks."""
    name = f"dsadapter-{os.getpid()}-{next(_numbers)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        made = Namespace(name)
        made.run("ip", "link", "set", "lo", "up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
        shutil.rmtree(_CONFIGURATION / name, ignore_errors=True)
