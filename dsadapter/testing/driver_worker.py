"""The process that a driver runs in: commands come as JSON lines on standard input, what they
return and report goes as JSON lines to what was standard output. All other output is the log.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import importlib.util
import json
import logging
import os
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from dsadapter.testing.driver import Driver
from dsadapter.testing.frames import udp_over_ipv6, write_frame

if sys.platform != "win32":
    import fcntl

MAPPED_NAME = "mapped.dsadapter.test"
"""A host name whose only address is ``::ffff:127.0.0.1``, where :func:`own_machine` is allowed."""
IPV6_ADDRFORM = 1
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_SIOCSIFFLAGS, _SIOCADDRT = 0x8914, 0x890B
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000


def own_machine(isolated: bool) -> bool:
    """Give this process, which has one thread yet, a hosts file of its own with
    :data:`MAPPED_NAME` in it; whether that is allowed here.

    :param isolated: a network of its own, too, in which the loopback is all there is.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    spaces = _CLONE_NEWNS | (_CLONE_NEWNET if isolated else 0)
    if os.geteuid() != 0:
        spaces |= _CLONE_NEWUSER
    if libc.unshare(spaces) or libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
        return False
    if isolated:
        _raise_loopback()
    with tempfile.NamedTemporaryFile("w") as hosts:
        hosts.write(f"127.0.0.1 localhost\n::1 localhost\n::ffff:127.0.0.1 {MAPPED_NAME}\n")
        hosts.flush()
        return not libc.mount(hosts.name.encode(), b"/etc/hosts", None, _MS_BIND, None)


def _raise_loopback() -> None:
    """Have the loopback up (``netdevice(7)``), and IPv6 groups led to it (``ipv6(7)``)."""
    up = struct.pack("=16sH", b"lo", 0x1 | 0x8 | 0x40)
    groups = struct.pack(
        "@16s32xIHHILIi", b"\xff", 0, 8, 0, 1, 0, 0x80000001, socket.if_nametoindex("lo")
    )
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, up.ljust(40, b"\0"))
        fcntl.ioctl(sock, _SIOCADDRT, groups)


def load(module: str, file: str) -> ModuleType:
    """A module by its name, or where that is not to be found, as one of pytest's may be, by its
    file."""
    if module != "__main__":
        try:
            found = importlib.import_module(module)
        except ImportError:
            pass
        else:
            if getattr(found, "__file__", None) == file:
                return found
    spec = importlib.util.spec_from_file_location(module.replace("__main__", "driver_main"), file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    _make_parents(spec.name, Path(file).parent)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def _make_parents(module: str, folder: Path) -> None:
    """Have the packages that a module is in, as pytest makes them up where nobody can import them:
    its relative imports look there."""
    package, _, _ = module.rpartition(".")
    while package:
        made = sys.modules.setdefault(package, ModuleType(package))
        if not hasattr(made, "__path__"):
            made.__path__ = [str(folder)]
        package, _, _ = package.rpartition(".")
        folder = folder.parent


def shown(value: Any) -> Any:
    """What was reported, as JSON has it: None, texts as a list, or an address as a type's name with
    host and port."""
    if callable(value):
        try:
            value = value()
        except OSError:
            return None
    if value is None:
        return None
    if isinstance(value, str):
        return {"texts": [value]}
    if isinstance(value, list):
        return {"texts": [str(each) for each in value]}
    if isinstance(value, tuple):
        # Of a packed address, or of anything else that is no address, the suite says so.
        return {"type": "tuple", "address": [_plain(each) for each in value]}
    if hasattr(value, "host"):
        return {"type": type(value).__name__, "address": [value.host, getattr(value, "port", None)]}
    return {"type": type(value).__name__, "address": [repr(value), None]}


def _plain(item: Any) -> Any:
    return item if isinstance(item, (str, int)) else repr(item)


def told(error: BaseException) -> list[str]:
    """The texts of an error, its causes, and those in it."""
    seen: dict[int, BaseException] = {}
    _gather(error, seen)
    return [f"{type(each).__name__}: {each}" for each in seen.values()]


def _gather(error: BaseException | None, seen: dict[int, BaseException]) -> None:
    if error is None or id(error) in seen:
        return
    seen[id(error)] = error
    for each in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        _gather(each, seen)


class Worker:
    """Runs one driver's commands."""

    def __init__(self, driver: Driver, events: Any) -> None:
        self._driver = driver
        self._events = events
        self._lock = lock = threading.Lock()
        if sys.platform != "win32":
            # A driver may fork; the child would wait for ever for what another thread has locked.
            os.register_at_fork(
                before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
            )

    def say(self, event: dict[str, Any]) -> None:
        """Write one event."""
        with self._lock:
            self._events.write(json.dumps(event) + "\n")
            self._events.flush()

    def report(self, number: int, **places: Any) -> None:
        """Pass on what a command reports."""
        self.say({"report": number, "places": {name: shown(v) for name, v in places.items()}})

    def run(self, commands: Iterator[str]) -> None:
        """Obey until there are no more commands."""
        for line in commands:
            number, name, arguments = json.loads(line)
            try:
                returned = getattr(self, name)(partial(self.report, number), **arguments)
            except Exception as error:
                self.say({"done": number, "error": told(error)})
            else:
                self.say({"done": number, "returned": returned})

    def listen(self, report: Any, host: str, port: int, **options: Any) -> Any:
        """The addresses of the listening port."""
        return [shown(each) for each in self._driver.listen(host, port, report, **options)]

    def adopt(self, report: Any, host: str, port: int) -> Any:
        """The same for a descriptor of a socket that serves both families already."""
        with socket.create_server(
            (host, port), family=socket.AF_INET6, dualstack_ipv6=True
        ) as inherited:
            number = inherited.getsockname()[1]
            descriptor = inherited.detach()
        return self.listen(report, host, number, descriptor=descriptor)

    def connect(self, report: Any, host: str, port: int, **options: Any) -> None:
        """Return when it is over."""
        self._driver.connect(host, port, report, **options)

    def bind(self, report: Any, host: str, port: int, peer: Any = None) -> Any:
        """The local address."""
        options = {} if peer is None else {"peer": tuple(peer)}
        return shown(self._driver.bind(host, port, report, **options))

    def send(self, report: Any, data: str, address: Any, **options: Any) -> None:
        """Send a text."""
        to = None if address is None else tuple(address)
        self._driver.send(data.encode(), to, **options)

    def join(self, report: Any, group: str, interface: str) -> None:
        """Join a group."""
        self._driver.join(group, interface)

    def inject(self, report: Any, source: str, destination: str, port: int) -> None:
        """Write an IPv6 datagram to the loopback of an isolated process, as if it came by a wire,
        from port 4711 of any address."""
        packet = udp_over_ipv6(source, 4711, destination, port, b"injected")
        write_frame("lo", packet)

    def probe(self, report: Any, host: str, port: int) -> Any:
        """Send a datagram from within an isolated process."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"probe", (host, port))
            return sock.getsockname()[1]

    def close(self, report: Any, mark: str) -> None:
        """Close everything, then write a line to the log."""
        self._driver.close()
        # In one piece, which print is not: other threads log meanwhile.
        sys.stderr.write(f"{mark}\n")


def main() -> None:
    """Make the driver and obey."""
    asked = json.loads(sys.argv[1])
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path[:] = asked["path"]
    allowed = own_machine(asked["isolated"])
    if asked["form_denied"]:
        from dsadapter.testing.denied_options import deny_option

        deny_option(socket.IPPROTO_IPV6, IPV6_ADDRFORM, errno.ENOPROTOOPT)
    logging.basicConfig(level=logging.DEBUG)
    kind: Any = load(asked["module"], asked["file"])
    for name in asked["class"].split("."):
        kind = getattr(kind, name)
    worker = Worker(kind(), events)
    worker.say({"ready": allowed})
    worker.run(iter(sys.stdin.readline, ""))
    # Threads of the driver may wait for what never comes.
    os._exit(0)


if __name__ == "__main__":
    main()
