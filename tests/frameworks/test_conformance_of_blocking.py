"""The conformance suite, on the standard library's sockets, and on its servers."""

from __future__ import annotations

import sys

from dsadapter.testing.conformance import ConformanceSuite

from .drivers.blocking_driver import BlockingDriver
from .drivers.socketserver_driver import SocketserverDriver

if sys.platform != "win32":
    from .drivers.socketserver_driver import ForkingDriver


class TestBlocking(ConformanceSuite):
    driver = BlockingDriver
    framework = "blocking"


class TestSocketserver(ConformanceSuite):
    driver = SocketserverDriver
    framework = "blocking"


if sys.platform != "win32":

    class TestForkingSocketserver(ConformanceSuite):
        driver = ForkingDriver
        framework = "blocking"
