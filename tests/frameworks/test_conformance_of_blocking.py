"""The conformance suite, on the standard library's sockets, and on its servers."""

from __future__ import annotations

from dsadapter.testing.conformance import ConformanceSuite

from .drivers.blocking_driver import BlockingDriver
from .drivers.socketserver_driver import ForkingDriver, SocketserverDriver


class TestBlocking(ConformanceSuite):
    driver = BlockingDriver
    framework = "blocking"


class TestSocketserver(ConformanceSuite):
    driver = SocketserverDriver
    framework = "blocking"


class TestForkingSocketserver(ConformanceSuite):
    driver = ForkingDriver
    framework = "blocking"
