"""The conformance suite, on the standard library's sockets."""

from __future__ import annotations

from dsadapter.testing.conformance import ConformanceSuite

from .drivers.blocking_driver import BlockingDriver


class TestBlocking(ConformanceSuite):
    driver = BlockingDriver
    framework = "blocking"
    declines = ("proxy_header",)
