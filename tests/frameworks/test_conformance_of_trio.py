"""The conformance suite, on Trio and on AnyIO with each of its back ends."""

from __future__ import annotations

import pytest
from support.windows import no_trio

from dsadapter.testing.conformance import ConformanceSuite

from .drivers.anyio_driver import AnyIODriver, AnyIOOnTrioDriver, AnyIOOnUvloopDriver
from .drivers.trio_driver import TrioDriver


@no_trio
class TestTrio(ConformanceSuite):
    driver = TrioDriver
    declines = ("adopted_descriptor",)


class TestAnyIO(ConformanceSuite):
    driver = AnyIODriver
    declines = ("adopted_descriptor",)


@pytest.mark.not_on_windows("uvloop is not for Windows")
class TestAnyIOOnUvloop(ConformanceSuite):
    driver = AnyIOOnUvloopDriver
    declines = ("adopted_descriptor",)


@no_trio
class TestAnyIOOnTrio(ConformanceSuite):
    driver = AnyIOOnTrioDriver
    declines = ("adopted_descriptor",)
