"""Network namespaces that a test makes and takes away."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_root = (
    pytest.mark.not_on_windows("needs network namespaces")
    if sys.platform == "win32"
    else pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
)
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
_CLONE_NEWNET = 0x40000000
_NETWORK_OF_THIS_THREAD = "/proc/thread-self/ns/net"
# Imported before any test has entered another.
_MACHINES = os.open(_NETWORK_OF_THIS_THREAD, os.O_RDONLY) if sys.platform == "linux" else None
_ROUTES = Path("/proc/thread-self/net/ipv6_route")
_RTF_LOCAL = 0x80000000
_PATIENCE = 30.0
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
        for address in addresses:
            if ":" in address:
                self._until_local(interface, address.partition("/")[0])

    def _until_local(self, interface: str, address: str) -> None:
        # The kernel routes an IPv6 address in a work queue of its own.
        packed = socket.inet_pton(socket.AF_INET6, address).hex()
        deadline = time.monotonic() + _PATIENCE
        with self.entered():
            while not any(
                (to, length, device) == (packed, "80", interface) and int(flags, 16) & _RTF_LOCAL
                for to, length, *_, flags, device in map(str.split, _lines(_ROUTES))
            ):
                assert time.monotonic() < deadline, f"{address} does not become local"
                time.sleep(0.001)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Open sockets inside: this thread's sockets are the namespace's, for good."""
        inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            with _entered(inside):
                yield
        finally:
            os.close(inside)


class OwnLoopback:
    """A loopback of this process alone: no port on it is another process's."""

    def __init__(self) -> None:
        with _network_of_this_thread() as outside:
            if _libc.unshare(_CLONE_NEWNET):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            try:
                subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
                # What is sent to everybody has somewhere to go.
                broadcast = ("route", "add", "255.255.255.255", "dev", "lo")
                subprocess.run(["ip", *broadcast], check=True)
                self._inside = os.open(_NETWORK_OF_THIS_THREAD, os.O_RDONLY)
            finally:
                _enter(outside)

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """Open sockets on it: this thread's, and those of what it starts."""
        return _entered(self._inside)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """Reach what installers fetch from: this thread's sockets, and those of what it starts, are the
    machine's."""
    if _MACHINES is None or _is_outside(_MACHINES):
        yield
    else:
        with _entered(_MACHINES):
            yield


def _is_outside(machines: int) -> bool:
    return os.path.samestat(os.fstat(machines), os.stat(_NETWORK_OF_THIS_THREAD))


@contextlib.contextmanager
def _network_of_this_thread() -> Iterator[int]:
    descriptor = os.open(_NETWORK_OF_THIS_THREAD, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _entered(inside: int) -> Iterator[None]:
    with _network_of_this_thread() as outside:
        _enter(inside)
        try:
            yield
        finally:
            _enter(outside)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def connect_namespaces(near: Namespace, far: Namespace, name: str = "wire") -> None:
    """A wire between two namespaces, with the same name at both ends, which carries at once."""
    near.run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", far.name)
    for end in (near, far):
        end.run("ip", "link", "set", name, "up")
    deadline = time.monotonic() + _PATIENCE
    # Until the kernel's work queue has come to it, an end drops what it is to send.
    while not all("state UP" in end.run("ip", "link", "show", name) for end in (near, far)):
        assert time.monotonic() < deadline, f"{name} does not become operational"
        time.sleep(0.001)


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
