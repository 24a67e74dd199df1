"""Tests on Windows, where Wine stands for it: what is not for it, and what Wine lacks.

A test, a class or a module is left out there by ``pytest.mark.not_on_windows("forks")``.
"""

from __future__ import annotations

import ctypes
import importlib
import socket
import sys
from collections import Counter
from typing import Any

import pytest

WINDOWS = sys.platform == "win32"
WINE = WINDOWS and hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")

LOOPBACK_NAME = socket.if_indextoname(1)
"""What the system calls the interface of 127.0.0.1."""
# Folders and modules that are left out as a whole: they need not even be importable there.
LEFT_OUT = {
    "conformance": "runs Twisted's own tests in network namespaces",
    "doctor": "breaks machines by namespaces and filters; tests/windows asks Windows' doctor",
    "frameworks/test_devices.py": "makes devices in network namespaces",
    "integration/test_log.py": "starts 22 programs, a minute's work, for what is no platform's",
    "launcher": "starts programs by exec, fork and descriptors; tests/windows starts Windows'",
    "migration/test_command.py": "runs commands under limits of resources",
    "migration/test_contributed_rules.py": "builds distributions with Linux's pip",
    "migration/test_guide.py": "rewrites by LibCST, which is not installed there",
    "migration/test_legacy_servers.py": "lists sockets by ss, and rewrites by LibCST",
    "migration/test_migrated_servers.py": "lists sockets by ss, and rewrites by LibCST",
    "migration/test_rewriting.py": "needs LibCST, which is not installed there",
    "packaging": "builds distributions with Linux's pip",
    "platforms": "starts other Pythons from Linux",
    "plugins": "builds distributions with Linux's pip",
    "system": "makes network namespaces, mounts and seccomp filters",
    "typing": "mypy says the same on each platform",
}


IGNORES_SOURCES = "ignores the source of WSASendMsg"
NO_TRIO = "Wine does not start Trio"
NO_REFUSALS = "a datagram socket hears of no refusals there"


_INTERNAL_ERROR = 1359


def start_again_where_wine_fails() -> None:
    """Have what starts programs try three times: now and then Wine answers ERROR_INTERNAL_ERROR,
    and has started nothing."""
    api: Any = importlib.import_module("_winapi")
    create = api.CreateProcess

    def created(*args: Any) -> Any:
        for _ in range(2):
            try:
                return create(*args)
            except OSError as error:
                if getattr(error, "winerror", None) != _INTERNAL_ERROR:
                    raise
        return create(*args)

    api.CreateProcess = created


def lacking_in_wine(what: str) -> pytest.MarkDecorator:
    """An expected failure, for what Windows has and Wine has not. Once Wine has it, the test fails
    until this mark is taken away."""
    return pytest.mark.xfail(WINE, reason=f"Wine {what}", strict=True)


nothing_is_mapped = pytest.mark.not_on_windows(
    "an IPv6 socket of Twisted's own is v6-only there: it leaks nothing and reaches no IPv4"
)
counts_descriptors = pytest.mark.not_on_windows("counts descriptors in /proc")
starts_programs = pytest.mark.not_on_windows(
    "starts programs, which takes Wine long; nothing in it is of a platform"
)
reads_sources = pytest.mark.not_on_windows("looks at sources and pages, which Windows has, too")
pure_and_long = pytest.mark.not_on_windows("is long, and computes the same on each platform")
runs_tools = pytest.mark.not_on_windows("runs programs of Linux")

meets_resets = pytest.mark.not_on_windows("Wine shuts a connection down before it resets it")

no_trio = pytest.mark.not_on_windows(NO_TRIO)

# Not even run: a Trio that can't start leaves sockets behind, for which others would be blamed.
# tests/windows/test_trio_there.py notices when it can.
trio_starts = pytest.mark.xfail(
    WINE, reason="Wine lacks SIO_BSP_HANDLE_SELECT, which Trio starts with", run=False
)

own_udp_address = lacking_in_wine("binds a UDP socket of one IPv4 address to the whole interface")


class LeftOut:
    """What a run on Windows leaves out, and why."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()

    def select(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """What is to run; what is not is counted."""
        selected = []
        for item in items:
            mark = item.get_closest_marker("not_on_windows")
            if mark is None:
                selected.append(item)
                continue
            [reason] = mark.args
            self.reasons[reason] += 1
        return selected

    def lines(self) -> list[str]:
        """A line a reason."""
        return [
            f"{count} not for Windows: {reason}" for reason, count in self.reasons.most_common()
        ]
