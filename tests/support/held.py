"""A network in which attempts to connect are held until a test lets them go at once."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsadapter import hookimpl
from support.namespaces import Namespace, connect_namespaces, namespace
from support.processes import PATIENCE

PORT = 8080
OWN = ("10.1.0.1", "fd00:1::1")
# In the order of trying: the families take turns.
LIVE = ("fd00:2::1", "10.2.0.1", "fd00:2::2", "10.2.0.2")
REFUSED = ("fd00:3::1", "10.3.0.1", "fd00:3::2", "10.3.0.2")
NAME = "name.example"


class Network:
    """A machine whose attempts go nowhere until its neighbor is known to it.

    The neighbor's addresses are not on the wire, so that it does not answer for them; the kernel
    keeps what is sent to an unknown neighbor for about three seconds.
    """

    def __init__(self, near: Namespace, far: Namespace, folder: Path) -> None:
        self.near, self.far = near, far
        self._batch = folder / "batch"
        connect_namespaces(near, far)
        near.add_addresses("wire", *OWN)
        far.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1")
        for address in (*LIVE, *REFUSED):
            far.add_addresses("lo", address + ("/128" if ":" in address else "/32"))
            near.run("ip", "route", "add", address, "dev", "wire", "src", OWN[":" in address])
        for address in OWN:
            known = ("lladdr", self._link_address(near), "nud", "permanent", "dev", "wire")
            far.run("ip", "neighbor", "add", address, *known)
            far.run("ip", "route", "add", address, "dev", "wire")
        self._far_link_address = self._link_address(far)
        self.servers: dict[str, socket.socket] = {}
        with far.entered():
            for address in LIVE:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                self.servers[address] = socket.create_server((address, PORT), family=family)

    def _link_address(self, place: Namespace) -> str:
        return place.run("cat", "/sys/class/net/wire/address").strip()

    def let_go(self, *addresses: str) -> None:
        """What waits for these addresses is sent."""
        known = f"lladdr {self._far_link_address} nud permanent dev wire"
        lines = [f"neighbor replace {address} {known}\n" for address in addresses]
        self._batch.write_text("".join(lines))
        self.near.run("ip", "-batch", str(self._batch))

    def hold(self) -> None:
        """As it was in the beginning."""
        for which in ([], ["nud", "permanent"]):
            self.near.run("ip", "neighbor", "flush", "dev", "wire", *which)

    def close(self) -> None:
        for server in self.servers.values():
            server.close()


@contextlib.contextmanager
def held_network(folder: Path) -> Iterator[Network]:
    """Every socket that is opened meanwhile is one of the machine."""
    with namespace() as near, namespace() as far:
        made = Network(near, far, folder)
        with near.entered():
            yield made
        made.close()


class Attempts:
    """The sockets of all attempts, by address, and which of them are open."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[int, int]] = {}

    @hookimpl
    def dsadapter_before_connect(self, sock: socket.socket, attempt: Any) -> None:
        descriptor = sock.fileno()
        self._files[attempt.destination[0]] = descriptor, os.fstat(descriptor).st_ino

    def __len__(self) -> int:
        return len(self._files)

    def open(self) -> list[str]:
        return [address for address, file in self._files.items() if _inode(file[0]) == file[1]]

    def wait_until_over(self, addresses: Any) -> None:
        """Wait, without the reactor, until attempts have connected or failed."""
        poll = select.poll()
        waiting = {self._files[address][0] for address in addresses}
        for descriptor in waiting:
            poll.register(descriptor, select.POLLOUT)
        while waiting:
            over = poll.poll(PATIENCE * 1000)
            assert over, "the network is broken"
            for descriptor, _ in over:
                poll.unregister(descriptor)
                waiting.discard(descriptor)


def _inode(descriptor: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.fstat(descriptor).st_ino
    return None
