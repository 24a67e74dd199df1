"""The leak guard in programs that do what no program should, and in callers that swallow errors."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import socket
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager, suppress
from multiprocessing import get_context
from threading import Thread
from typing import Any

import pytest
from support import leaking
from support.processes import PATIENCE
from support.reactors import SelectReactor
from twisted.logger import globalLogPublisher

from dsadapter import guard
from dsadapter.guard import MappedAddressLeak

MAPPED = "::ffff:127.0.0.1"


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    guard.install("log")
    yield
    guard.uninstall()


def leak(host: Any = MAPPED) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect((host, 9))


@contextmanager
def ipv6_only() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        yield sock


@pytest.mark.not_on_windows("a handle there is no descriptor")
def test_a_descriptor_that_was_closed_or_replaced_is_no_socket_of_a_family() -> None:
    with guard.recorded() as seen:
        with ipv6_only() as sock:
            os.close(sock.fileno())
            with pytest.raises(OSError, match="Bad file descriptor"):
                sock.connect((MAPPED, 9))
            sock.detach()
        with ipv6_only() as sock, open(os.devnull, "rb") as null:
            os.dup2(null.fileno(), sock.fileno())
            with pytest.raises(OSError):
                sock.connect((MAPPED, 9))
    assert seen == []


def test_a_socket_of_another_family_than_it_says_is_what_the_kernel_says() -> None:
    with guard.recorded() as seen:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            with socket.socket(socket.AF_INET6, sock.type, 0, socket.dup(sock.fileno())) as wrong:
                wrong.connect_ex((MAPPED, 9))
        with ipv6_only() as sock:
            with socket.socket(socket.AF_INET, sock.type, 0, socket.dup(sock.fileno())) as wrong:
                wrong.connect_ex((MAPPED, 9))
    assert [leak.mode for leak in seen] == ["an IPv4-only socket", "an IPv6-only socket"]


@pytest.mark.not_on_windows("Python's sockets have no sendmsg there")
def test_control_messages_make_no_difference() -> None:
    traffic_class = (socket.IPPROTO_IPV6, getattr(socket, "IPV6_TCLASS", 67), b"\0\0\0\0")
    with guard.recorded() as seen, ipv6_only() as sock:
        with pytest.raises(OSError):
            sock.sendmsg([b"x"], [traffic_class], 0, (MAPPED, 9, 0, 0))
        with pytest.raises(OSError):
            sock.sendmsg([b"x"], [traffic_class])
    assert [(leak.operation, leak.mode) for leak in seen] == [("sendmsg", "an IPv6-only socket")]


def test_text_of_a_class_that_lies_and_does_not_pickle() -> None:
    class Text(str):
        def __repr__(self) -> str:
            return "two\nlines"

        def lower(self) -> str:
            raise KeyError(self)

        def partition(self, _separator: str, /) -> tuple[str, str, str]:
            return "::1", "", ""

    with guard.recorded() as seen:
        leak(Text(MAPPED))
    error = pickle.loads(pickle.dumps(MappedAddressLeak(seen[0])))
    assert error.leak.address == MAPPED
    assert "\n" not in str(error)


def test_what_a_zone_hides_is_kept_short_and_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    host = b"::ffff:127.0.0.1%\n\x1b[31m" + b"x" * 1_000_000
    with guard.recorded() as seen, pytest.raises((OSError, UnicodeError)):
        socket.getaddrinfo(host, 9, socket.AF_INET)
    assert len(seen[0].address) < 200
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(r"'::ffff:127.0.0.1%\n\x1b[31mxx")
    assert "\n" not in said
    assert len(said) < 1000


def test_threads_that_record_at_once_leave_nothing_recording() -> None:
    kept: list[list[Any]] = []

    def record() -> None:
        for _ in range(1000):
            with guard.recorded() as seen:
                kept.append(seen)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with guard.recorded() as own:
            threads = [Thread(target=record) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            leak()
    finally:
        sys.setswitchinterval(before)
    assert len(own) == 1
    assert not any(kept)


def test_what_a_log_handler_leaks_is_not_logged_again() -> None:
    class Leaking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            leak()

    said: list[str] = []
    handler = Leaking()
    logging.getLogger("dsadapter.guard").addHandler(handler)
    try:
        with guard.recorded() as seen, socket.socket(type=socket.SOCK_DGRAM) as sock:
            # A line that nobody has seen leak.
            source = compile("sock.connect(name)", "/srv/app/handled.py", "exec")
            exec(source, {"sock": sock, "name": (MAPPED, 9)})
    finally:
        logging.getLogger("dsadapter.guard").removeHandler(handler)
    assert len(seen) == 1
    assert len(said) == 1


def test_an_error_of_another_process_says_the_same() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as workers:
        with pytest.raises(
            MappedAddressLeak, match=r"::ffff:127\.0\.0\.1.*_in_a_worker$"
        ) as caught:
            workers.submit(leaking.leak_in_a_worker).result(PATIENCE)
    assert caught.value.leak.file == leaking.__file__


class TestCallersThatSwallow:
    """Raising warns as well."""

    def test_a_transport_of_asyncios(self) -> None:
        ends: list[Any] = []

        class Lost(asyncio.DatagramProtocol):
            def connection_lost(self, exc: Exception | None) -> None:
                ends.append(exc)

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _loop, _context: None)
            transport, _ = await loop.create_datagram_endpoint(Lost, ("127.0.0.1", 0))
            transport.sendto(b"x", (MAPPED, 9))
            while not ends:
                await asyncio.sleep(0)

        guard.install("raise")
        with pytest.warns(RuntimeWarning, match=MAPPED) as warned:
            # The Proactor loop, the default on Windows, does not pass the socket module.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(main())
        assert [type(end) for end in ends] == [MappedAddressLeak]
        assert [each.filename for each in warned] == [__file__]

    def test_a_callback_of_twisteds(self) -> None:
        events: list[Any] = []
        with closing(SelectReactor()) as reactor:
            globalLogPublisher.addObserver(events.append)
            guard.install("raise")
            reactor.callLater(0, leak)
            with pytest.warns(RuntimeWarning, match=MAPPED) as warned:
                reactor.until(lambda: not reactor.getDelayedCalls())
            globalLogPublisher.removeObserver(events.append)
        assert [each.filename for each in warned] == [__file__]
        # The latter is older Twisted's.
        failures = [event.get("log_failure", event.get("failure")) for event in events]
        assert [each.type for each in failures if each is not None] == [MappedAddressLeak]

    def test_a_destructor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Late:
            def __del__(self) -> None:
                leak()

        swallowed: list[Any] = []
        monkeypatch.setattr(sys, "unraisablehook", swallowed.append)
        guard.install("raise")
        late: list[Any] = [Late()]
        with pytest.warns(RuntimeWarning, match=MAPPED):
            late.clear()
        assert [each.exc_type for each in swallowed] == [MappedAddressLeak]


def test_the_mode_changes_for_calls_to_come() -> None:
    with guard.recorded() as seen:
        leak()
        guard.uninstall()
        leak()
        guard.install("raise")
        with suppress(MappedAddressLeak), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            leak()
        guard.install("log")
        leak()
    assert len(seen) == 3
