"""The leak guard: what it sees, what it leaves alone, and what it says."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsadapter import guard, hookimpl
from dsadapter.guard import MappedAddressLeak
from dsadapter.testing import registered

SPELLINGS = [
    "::ffff:127.0.0.1",
    "::FFFF:127.0.0.1",
    "0:0:0:0:0:ffff:127.0.0.1",
    "0000:0000:0000:0000:0000:ffff:7f00:1",
    "::ffff:7f00:1",
    b"::ffff:127.0.0.1",
]


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    guard.install("log")
    yield
    guard.uninstall()


@contextlib.contextmanager
def forgiven() -> Iterator[None]:
    with contextlib.suppress(OSError):
        yield


def ipv6_only(kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_INET6, kind)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


@pytest.mark.parametrize("host", SPELLINGS)
def test_every_spelling_and_every_call_on_an_IPv4_only_socket(host: Any) -> None:
    calls: dict[str, Any] = {
        "connect": lambda sock: sock.connect((host, 9)),
        "bind": lambda sock: sock.bind((host, 0)),
        "sendto": lambda sock: sock.sendto(b"x", (host, 9)),
        "sendmsg": lambda sock: sock.sendmsg([b"x"], [], 0, (host, 9)),
    }
    for operation, call in calls.items():
        with guard.recorded() as seen, socket.socket(type=socket.SOCK_DGRAM) as sock, forgiven():
            call(sock)
        [leak] = seen
        assert leak.operation == operation
        assert leak.mode == "an IPv4-only socket"
        assert leak.file == __file__
        text = host if isinstance(host, str) else host.decode()
        assert leak.address == text
        assert text in str(leak)
        assert "unmap()" in str(leak)


def test_connect_ex_and_four_items() -> None:
    with guard.recorded() as seen, ipv6_only() as sock:
        sock.connect_ex(("::ffff:127.0.0.1", 9, 0, 0))
    assert [leak.mode for leak in seen] == ["an IPv6-only socket"]


def test_lookups_that_can_not_take_it() -> None:
    with guard.recorded() as seen, forgiven():
        # glibc answers this with 127.0.0.1.
        socket.getaddrinfo("::ffff:127.0.0.1", 80, socket.AF_INET)
    assert [leak.mode for leak in seen] == ["a lookup of IPv4 addresses"]
    with guard.recorded() as seen, forgiven():
        socket.getnameinfo(("::ffff:127.0.0.1", 80, 0, 0), socket.NI_NUMERICHOST)
    assert [leak.mode for leak in seen] == ["a reverse lookup"]
    with guard.recorded() as seen:
        socket.getaddrinfo("::ffff:127.0.0.1", 80)
        socket.getaddrinfo("::ffff:127.0.0.1", 80, socket.AF_INET6)
    assert seen == []


def test_what_can_take_it_and_what_only_looks_like_it() -> None:
    with guard.recorded() as seen:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.connect(("::ffff:127.0.0.1", 9))
        with ipv6_only(socket.SOCK_DGRAM) as sock, forgiven():
            sock.bind(("::ffff:0:127.0.0.1", 0))
        with socket.socket(socket.AF_UNIX) as sock, forgiven():
            sock.connect("/nonexistent/::ffff:127.0.0.1")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
    assert seen == []


def test_a_line_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dsadapter.guard"):
        for _ in range(3):
            with socket.socket() as sock, forgiven():
                sock.bind(("::ffff:127.0.0.1", 0))
    assert len(caplog.records) == 1
    line = sys._getframe().f_lineno - 2
    [count] = [count for leak, count in guard.leaks() if leak.line == line]
    assert count == 3


def test_raising_and_warning() -> None:
    guard.install("raise")
    with socket.socket() as sock:
        with pytest.warns(RuntimeWarning, match="::ffff:127"), pytest.raises(MappedAddressLeak):
            sock.bind(("::ffff:127.0.0.1", 0))
        assert sock.getsockname() == ("0.0.0.0", 0)
    guard.uninstall()
    assert not guard.is_installed()
    with guard.recorded() as seen, socket.socket() as sock, forgiven():
        sock.bind(("::ffff:127.0.0.1", 0))
    assert seen == []


def test_errors_copy_and_pickle() -> None:
    guard.install("raise")
    with socket.socket() as sock, pytest.warns(RuntimeWarning):
        with pytest.raises(MappedAddressLeak) as caught:
            sock.bind(("::ffff:127.0.0.1", 0))
    for made in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert type(made) is MappedAddressLeak
        assert str(made) == str(caught.value)
        assert made.leak == caught.value.leak


def test_a_mode_that_is_none() -> None:
    with pytest.raises(ValueError, match="mode 'loud' is neither 'log' nor 'raise'"):
        guard.install("loud")  # type: ignore[arg-type]


def test_plugins_hear_of_each_and_may_leak_themselves() -> None:
    heard: list[Any] = []

    class Observer:
        @hookimpl
        def dsadapter_mapped_address_leaked(self, leak: Any) -> None:
            heard.append(leak)
            with socket.socket() as sock, forgiven():
                sock.bind(("::ffff:127.0.0.1", 0))

    with registered(Observer()):
        for _ in range(2):
            with socket.socket() as sock, forgiven():
                sock.bind(("::ffff:127.0.0.2", 0))
    assert [leak.address for leak in heard] == ["::ffff:127.0.0.2"] * 2


def run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_outlives_the_interpreter() -> None:
    done = run(
        """
        import socket
        from dsadapter import guard

        class Late:
            def __del__(self, socket=socket.socket):
                with socket() as sock:
                    try:
                        sock.bind(("::ffff:127.0.0.1", 0))
                    except OSError:
                        pass

        guard.install("log")
        late = Late()
        """
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr


TESTS = """
import socket


def test_sound():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))


def test_leaking():
    with socket.socket() as sock:
        try:
            sock.bind(("::ffff:127.0.0.1", 0))
        except OSError:
            pass
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_pytest_plugin_fails_a_test_that_leaks(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers]
    for plugin, failed in (("dsadapter.testing.leak_guard", 1), ("no:none", 0)):
        done = subprocess.run(
            [*command, "-p", plugin], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 1) == bool(failed), done.stdout
        if failed:
            assert "1 failed, 1 passed" in done.stdout
            assert "test_it.py:13" in done.stdout
