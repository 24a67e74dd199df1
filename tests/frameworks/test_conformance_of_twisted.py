"""The conformance suite, on Twisted."""

from __future__ import annotations

from dsadapter.testing.conformance import ConformanceSuite

from .drivers.twisted_driver import AsyncioReactorDriver, TwistedDriver


class TestTwisted(ConformanceSuite):
    driver = TwistedDriver
    framework = "twisted"


class TestAsyncioReactor(ConformanceSuite):
    driver = AsyncioReactorDriver
    framework = "twisted"
