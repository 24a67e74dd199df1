"""Records of what ready sockets accept, which ask for addresses when somebody looks."""

from __future__ import annotations

import copy
import gc
import pickle
import socket
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from support.processes import PATIENCE

from dsadapter import hookimpl
from dsadapter.sockets.listening import listening_socket
from dsadapter.testing import RecordingPlugin, registered

HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


class AtTheEnd:
    """Looks at a connection that is lost, and keeps nothing of it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def dsadapter_connection_lost(self, connection: Any) -> None:
        self.seen.append((connection.peer, connection.local, connection.family))


@HOSTS
def test_whoever_is_told_of_the_end_alone_sees_both_addresses(host: str) -> None:
    with registered(AtTheEnd()) as plugin, listening_socket("::", 0) as sock:
        with socket.create_connection((host, sock.getsockname()[1])) as client:
            sock.accept()[0].close()
            family = "ipv6" if ":" in host else "ipv4"
            assert plugin.seen == [(client.getsockname(), client.getpeername(), family)]


@HOSTS
@pytest.mark.parametrize("end", ["close", "detach", "dup", "forget"])
def test_a_record_that_is_kept_has_all_of_it_when_the_socket_is_gone(host: str, end: str) -> None:
    with registered(RecordingPlugin()) as told, listening_socket("::", 0) as sock:
        with socket.create_connection((host, sock.getsockname()[1])) as client:
            names = client.getsockname(), client.getpeername()
            accepted, _ = sock.accept()
            if end == "close":
                accepted.close()
            elif end == "detach":
                socket.close(accepted.detach())
            elif end == "dup":
                duplicate = accepted.dup()
                accepted.close()
                duplicate.close()
            else:
                # In a cycle, where weak references are gone before it ends.
                cycle: list[Any] = [accepted]
                cycle.append(cycle)
                del accepted, cycle
                with pytest.warns(ResourceWarning):
                    gc.collect()
        [record] = told.of("connection_lost")
        assert told.of("connection_made") == [record]
        assert (record.peer, record.local) == names
        assert (record.direction, record.framework, record.proxy) == ("inbound", "socket", None)
        assert record.translated == (host == "127.0.0.1")


@HOSTS
def test_a_record_that_nobody_has_looked_at_is_frozen_and_can_be_copied(host: str) -> None:
    with registered(RecordingPlugin()) as told, listening_socket("::", 0) as sock:
        with socket.create_connection((host, sock.getsockname()[1])) as client:
            with sock.accept()[0]:
                [record] = told.of("connection_made")
                with pytest.raises(FrozenInstanceError):
                    record.peer = None
                copied = copy.copy(record)
                other = replace(record, listener=None)
                assert pickle.loads(pickle.dumps(other)).peer == client.getsockname()
                assert f"local={client.getpeername()!r}" in repr(record)
                assert copied != record
                assert (copied.local, copied.family) == (client.getpeername(), record.family)


WITHOUT_COUNTS = """
import socket, sys
del sys.getrefcount
from dsadapter.sockets.listening import listening_socket
from dsadapter.testing import RecordingPlugin, registered
with registered(RecordingPlugin()) as told, listening_socket("::", 0) as sock:
    with socket.create_connection(("127.0.0.1", sock.getsockname()[1])) as client:
        sock.accept()[0].close()
        [record] = told.of("connection_lost")
        assert (record.peer, record.local) == (client.getsockname(), client.getpeername())
"""


def test_a_python_that_counts_no_references_keeps_them_all() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_COUNTS], timeout=PATIENCE, check=True)
