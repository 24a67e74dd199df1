"""The leak guard: what it sees, what it leaves alone, and what it says."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import pickle
import re
import socket
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from support.builds import CHECKOUT

from dsadapter import guard, hookimpl
from dsadapter.guard import MappedAddressLeak
from dsadapter.testing import registered


class Text(str):
    """Text of a class of its own."""


class Place(NamedTuple):
    """An address that is a tuple of a class of its own."""

    host: str
    port: int


SPELLINGS = [
    "::ffff:127.0.0.1",
    "::FFFF:127.0.0.1",
    "::fFfF:7F00:0001",
    "0:0:0:0:0:ffff:127.0.0.1",
    "0000:0000:0000:0000:0000:ffff:7f00:1",
    "0::ffff:7f00:1",
    "::ffff:7f00:1",
    # The socket module makes ASCII of it.
    "::\N{FULLWIDTH LATIN SMALL LETTER F}fff:127.0.0.\N{FULLWIDTH DIGIT ONE}",
    b"::ffff:127.0.0.1",
    bytearray(b"::FFFF:7F00:1"),
    Text("::ffff:127.0.0.1"),
]
CALLS: dict[str, Callable[[socket.socket, Any], object]] = {
    "connect": lambda sock, name: sock.connect(name),
    "bind": lambda sock, name: sock.bind(name),
    "sendto": lambda sock, name: sock.sendto(b"x", name),
}
if sys.platform != "win32":
    CALLS["sendmsg"] = lambda sock, name: sock.sendmsg([b"x"], [], 0, name)


NATIVE = [
    "::ffff",
    "::ffff:0:127.0.0.1",
    "::ffff:0:0:1",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "ffff::127.0.0.1",
    "fe80::ffff:7f00:1",
    "2001:db8::ffff:127.0.0.1",
    "0:0:0:0:ffff:0:7f00:1",
]
"""IPv6 addresses that look like mapped ones."""


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


def plain(kind: int = socket.SOCK_STREAM) -> socket.socket:
    return socket.socket(type=kind)


MODES = {plain: "an IPv4-only socket", ipv6_only: "an IPv6-only socket"}


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("opened", MODES)
def test_every_spelling_and_every_call(
    opened: Callable[[int], socket.socket], operation: str
) -> None:
    for host in SPELLINGS:
        with guard.recorded() as seen, opened(socket.SOCK_DGRAM) as sock, forgiven():
            CALLS[operation](sock, (host, 9))
        [leak] = seen
        assert leak.operation == operation
        assert leak.mode == MODES[opened]
        assert leak.file == __file__
        text = host if isinstance(host, str) else host.decode()
        assert leak.address == text
        assert repr(text) in str(leak)
        assert leak.mode in str(leak)
        assert "unmap()" in str(leak)
        assert f"{__file__}:{leak.line}, in <lambda>" in str(leak)


def test_connect_ex_and_four_items_and_tuples_of_other_classes() -> None:
    mapped = "::ffff:127.0.0.1"
    with guard.recorded() as seen, ipv6_only() as sock:
        sock.connect_ex((mapped, 9, 0, 0))
        sock.connect_ex(Place(mapped, 9))
        sys.audit("socket.connect", sock, (f"{mapped}%lo", 9))
    assert [(leak.operation, leak.mode) for leak in seen] == [
        ("connect", "an IPv6-only socket")
    ] * 3
    assert [leak.address for leak in seen] == [mapped, mapped, f"{mapped}%lo"]
    with guard.recorded() as seen, plain() as sock:
        sock.connect_ex((mapped, 9))
        sock.connect_ex(Place(mapped, 9))
    assert [leak.mode for leak in seen] == ["an IPv4-only socket"] * 2


@pytest.mark.not_on_windows("Wine asks glibc, and Windows itself is another library")
def test_what_glibc_hides() -> None:
    """It takes the IPv4 address out of a mapped one, so that all goes well on this machine."""
    mapped = "::ffff:127.0.0.1"
    with (
        guard.recorded() as seen,
        socket.create_server(("127.0.0.1", 0)) as server,
        plain() as sock,
    ):
        port = server.getsockname()[1]
        sock.connect((mapped, port))
        assert sock.getpeername() == ("127.0.0.1", port)
        with plain(socket.SOCK_DGRAM) as datagrams:
            datagrams.bind((mapped, 0))
            assert datagrams.getsockname()[0] == "127.0.0.1"
            assert datagrams.sendto(b"x", (mapped, port)) == 1
        assert socket.gethostbyname(mapped) == "127.0.0.1"
        [answer] = socket.getaddrinfo(mapped, port, socket.AF_INET, socket.SOCK_STREAM)
        assert answer[4] == ("127.0.0.1", port)
    assert [leak.operation for leak in seen] == [
        *("connect", "bind", "sendto", "gethostbyname", "getaddrinfo")
    ]


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
        socket.getaddrinfo("127.0.0.1", 80, socket.AF_INET)
        socket.getaddrinfo(None, 80, socket.AF_INET)
        with forgiven():
            socket.getaddrinfo("::ffff", 80, socket.AF_INET, flags=socket.AI_NUMERICHOST)
        socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
    assert seen == []


def test_lookups_by_the_older_functions() -> None:
    # Raising comes before the lookup, which would be asked of another machine.
    guard.install("raise")
    lookups: dict[str, Callable[[str], object]] = {
        "gethostbyname": socket.gethostbyname_ex,
        "gethostbyaddr": socket.gethostbyaddr,
    }
    for operation, lookup in lookups.items():
        with pytest.warns(RuntimeWarning), pytest.raises(MappedAddressLeak) as caught:
            lookup("::ffff:127.0.0.1")
        assert caught.value.leak.operation == operation


def test_what_can_take_it_and_what_only_looks_like_it() -> None:
    with guard.recorded() as seen:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.connect(("::ffff:127.0.0.1", 9))
        for host in NATIVE:
            # Neither sends anything; these are no addresses of this machine.
            for operation in ("connect", "bind"):
                with ipv6_only(socket.SOCK_DGRAM) as sock, forgiven():
                    CALLS[operation](sock, (host, 9))
        if sys.platform != "win32":
            with socket.socket(socket.AF_UNIX) as sock, forgiven():
                sock.connect("/nonexistent/::ffff:127.0.0.1")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
    assert seen == []


@pytest.mark.not_on_windows("IPV6_ADDRFORM is Linux's")
def test_a_connection_that_has_become_an_IPv4_one() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0] as accepted:
            # IPV6_ADDRFORM (Linux).
            accepted.setsockopt(socket.IPPROTO_IPV6, 1, int(socket.AF_INET))
            with guard.recorded() as seen:
                accepted.connect_ex(("::ffff:127.0.0.1", port))
    assert [leak.mode for leak in seen] == ["an IPv4-only socket"]


def test_events_of_anybodys() -> None:
    with guard.recorded() as seen:
        sys.audit("socket.connect")
        sys.audit("socket.connect", None, ("::ffff:127.0.0.1", 9))
        sys.audit("socket.bind", object(), object())
        sys.audit("socket.getaddrinfo", "::ffff:127.0.0.1")
        with socket.socket() as sock:
            pass
        with forgiven():
            sock.connect(("::1", 9))
        with socket.socket(socket.AF_INET6) as sock:
            pass
        with forgiven():
            sock.connect(("::ffff:127.0.0.1", 9))
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


def test_a_handler_that_fails_is_not_the_business_of_the_call() -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no space left")

    handler = Failing()
    logging.getLogger("dsadapter.guard").addHandler(handler)
    try:
        with guard.recorded() as seen, plain(socket.SOCK_DGRAM) as sock:
            sock.connect(("::ffff:127.0.0.1", 9))
            assert sock.getpeername() == ("127.0.0.1", 9)
    finally:
        logging.getLogger("dsadapter.guard").removeHandler(handler)
    assert len(seen) == 1


def test_a_stack_that_is_full_is_not_the_business_of_the_call() -> None:
    def deep(left: int, sock: socket.socket) -> None:
        if left:
            deep(left - 1, sock)
        else:
            sock.connect(("::ffff:127.0.0.1", 9))

    frame: FrameType | None = sys._getframe()
    depth = 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    with plain(socket.SOCK_DGRAM) as sock:
        # The guard calls a few functions itself, for which there is no room.
        for left in range(12, 40):
            deep(sys.getrecursionlimit() - depth - left, sock)


def test_names_of_files_stay_one_line() -> None:
    source = compile("sock.connect(name)", "/srv/an\x1b[31mother\nname.py", "exec")
    with guard.recorded() as seen, plain(socket.SOCK_DGRAM) as sock:
        exec(source, {"sock": sock, "name": ("::ffff:127.0.0.1", 9)})
    assert str(seen[0]).endswith(r"/srv/an\x1b[31mother\nname.py:1, in <module>")
    assert seen[0].file == source.co_filename


def test_raising_and_warning() -> None:
    guard.install("raise")
    with socket.socket() as sock:
        with pytest.warns(RuntimeWarning, match="::ffff:127"), pytest.raises(MappedAddressLeak):
            sock.bind(("::ffff:127.0.0.1", 0))
        # Nothing was bound.
        sock.bind(("127.0.0.1", 0))
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


def test_raising_warns_those_who_forgive() -> None:
    """A warning that is an error itself gives way to the leak."""
    guard.install("raise")
    with warnings.catch_warnings(), socket.socket() as sock:
        warnings.simplefilter("error")
        with pytest.raises(MappedAddressLeak):
            sock.bind(("::ffff:127.0.0.1", 0))
    with pytest.warns(RuntimeWarning, match=r"127\.0\.0\.1.*IPv4-only") as warned, plain() as sock:
        with contextlib.suppress(Exception):
            sock.connect(("::ffff:127.0.0.1", 9))
    assert [warning.filename for warning in warned] == [__file__]


def test_installing_says_what_it_can_not_see(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dsadapter.guard"):
        guard.install()
    (record,) = caplog.records
    assert "not seen is what arrives (dsadapter run --guard=log counts it)" in record.getMessage()


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


def test_what_leaks_at_the_very_end_is_seen() -> None:
    done = run(
        """
        import atexit, socket, threading
        from dsadapter import guard

        def late():
            with socket.socket() as sock:
                sock.connect_ex(("::ffff:127.0.0.1", 9))

        atexit.register(late)
        guard.install("log")
        threading.Thread(target=lambda: threading.main_thread().join() or late()).start()
        """
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("(connect)") == 1
    assert "Traceback" not in done.stderr


def test_off_means_never_installed() -> None:
    done = run(
        """
        import sys
        added = []
        sys.addaudithook(lambda event, args: added.append(1) if event == "sys.addaudithook" else 0)
        import dsadapter.frameworks.asyncio, dsadapter.frameworks.twisted, dsadapter.plugin
        from dsadapter import guard
        print(len(added), guard.is_installed())
        guard.install()
        print(len(added), guard.is_installed())
        guard.uninstall()
        guard.uninstall()
        guard.install("raise")
        print(len(added), guard.is_installed())
        """
    )
    assert done.stdout == "0 False\n1 True\n1 True\n", done.stderr


def test_the_program_of_the_page_says_what_the_page_says(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "guard.md").read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [told] = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    leaking = (
        "import socket\n"
        "def forward():\n"
        "    with socket.socket(type=socket.SOCK_DGRAM) as sock:\n"
        "        sock.connect(('::ffff:127.0.0.1', 9))\n"
        "forward()\n"
    )
    script = tmp_path / "relay.py"
    script.write_text(program + leaking, encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    line = (program + leaking).count("\n") - 1
    expected = " ".join(told.split()).replace("/srv/app/relay.py:31", f"{script}:{line}")
    assert done.stderr == f"{expected}\n"


TESTS = """
import socket

import pytest

from dsadapter import guard


def test_sound():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))


def test_switching_it_off():
    guard.uninstall()


def test_leaking():
    with socket.socket() as sock:
        try:
            sock.bind(("::ffff:127.0.0.1", 0))
        except OSError:
            pass


def test_switching_it_over():
    guard.install("raise")


def test_leaking_before_it_is_skipped():
    test_leaking()
    pytest.skip("for now")


def test_leaking_before_it_fails():
    test_leaking()
    assert not "sound"
"""


@pytest.mark.not_on_windows("starts pytest six times for what is no platform's")
@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")])
def test_the_pytest_plugin_fails_a_test_that_leaks(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    line = TESTS.splitlines().index('            sock.bind(("::ffff:127.0.0.1", 0))') + 1
    for plugin, leaks in (("dsadapter.testing.leak_guard", True), ("no:none", False)):
        done = subprocess.run(
            [*command, "-p", plugin],
            cwd=tmp_path,
            env=alone,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ("FAILED test_it.py::test_leaking -" in done.stdout) == leaks, done.stdout
        if leaks:
            assert "3 failed, 3 passed" in done.stdout
            _, *sections = re.split(r"_{5,} (\w+) _{5,}\n", done.stdout)
            for section in sections[1::2]:
                # One that fails for a reason of its own says so, too.
                assert f"test_it.py:{line}, in test_leaking\n" in section.partition("Captured")[0]
