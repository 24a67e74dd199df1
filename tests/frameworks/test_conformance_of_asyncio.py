"""The conformance suite, on asyncio and loops of every kind."""

from __future__ import annotations

from dsadapter.testing.conformance import ConformanceSuite

from .drivers.asyncio_driver import AsyncioDriver, ThirdLoopDriver, UvloopDriver


class TestAsyncio(ConformanceSuite):
    driver = AsyncioDriver
    framework = "asyncio"


class TestUvloop(ConformanceSuite):
    driver = UvloopDriver
    framework = "asyncio"


class TestThirdLoop(ConformanceSuite):
    driver = ThirdLoopDriver
    framework = "asyncio"
