"""Records whose local address is asked for when somebody wants it."""

from __future__ import annotations

import errno
import threading
from typing import Any

import pytest

from dsadapter.records import Connection, local_of
from dsadapter.sockets.canonical import CanonicalSocket


class Asked:
    """A socket of which a second thread asks the same while the first waits for the system."""

    def __init__(self, then: OSError | None = None) -> None:
        self.then = then
        """What the first is told, whose socket has closed meanwhile."""
        self.connection: Any = None
        self.asked = 0
        self.seen: list[Any] = []

    def look(self) -> None:
        self.seen.append(self.connection.local)

    def ask(self) -> tuple[str, int]:
        self.asked += 1
        if self.asked == 1:
            other = threading.Thread(target=self.look)
            other.start()
            other.join()
            if self.then is not None:
                raise self.then
        return "192.0.2.1", 80


@pytest.mark.parametrize("then", [None, OSError(errno.EBADF, "")])
def test_two_threads_may_ask_at_once(then: OSError | None) -> None:
    asked = Asked(then)
    asked.connection = Connection(
        "none", None, ("192.0.2.9", 9), asked.ask, "inbound", translated=False
    )
    asked.look()
    assert asked.seen == [("192.0.2.1", 80)] * 2
    assert asked.connection.local == ("192.0.2.1", 80)
    assert asked.asked == 2


@pytest.mark.parametrize(
    ("peer", "local"),
    [(("192.0.2.9", 9), ("0.0.0.0", 0)), (("2001:db8::9", 9, 0, 0), ("::", 0, 0, 0))],
)
def test_what_the_system_does_not_know_any_more_is_unspecified(peer: Any, local: Any) -> None:
    with CanonicalSocket() as sock:
        pass
    assert local_of(sock.getsockname, peer) == local
    connection = Connection("none", None, peer, sock.getsockname, "inbound", translated=False)
    assert connection.local == local


def test_what_has_no_such_attribute_says_so() -> None:
    connection = Connection(
        "none", None, ("::1", 9, 0, 0), Asked().ask, "inbound", translated=False
    )
    with pytest.raises(AttributeError, match="'Connection' object has no attribute 'locale'"):
        _ = connection.locale  # type: ignore[attr-defined]
