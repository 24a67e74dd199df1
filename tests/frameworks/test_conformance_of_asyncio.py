"""The conformance suite, on asyncio and loops of every kind."""

from __future__ import annotations

import pytest
from support.windows import WINDOWS

from dsadapter.testing.conformance import ConformanceSuite

from .drivers.asyncio_driver import AsyncioDriver, SelectorDriver, ThirdLoopDriver, UvloopDriver


class TestAsyncio(ConformanceSuite):
    driver = AsyncioDriver
    framework = "asyncio"


if WINDOWS:

    class TestSelectorLoop(ConformanceSuite):
        """The other one is the Proactor loop."""

        driver = SelectorDriver
        framework = "asyncio"


@pytest.mark.not_on_windows("uvloop is not for Windows")
class TestUvloop(ConformanceSuite):
    driver = UvloopDriver
    framework = "asyncio"


class TestThirdLoop(ConformanceSuite):
    driver = ThirdLoopDriver
    framework = "asyncio"
