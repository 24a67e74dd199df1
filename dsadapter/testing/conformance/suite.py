"""The class to derive from."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from typing import ClassVar

import pytest

from dsadapter.frameworks import get_framework
from dsadapter.testing.conformance.client_rows import ClientRows
from dsadapter.testing.conformance.datagram_rows import DatagramRows
from dsadapter.testing.conformance.declining import MAY_DECLINE
from dsadapter.testing.conformance.judging import forbid_mapped, forbid_mapped_anywhere
from dsadapter.testing.conformance.stream_rows import StreamRows
from dsadapter.testing.driver import Driver
from dsadapter.testing.driver_process import DriverProcess

_FACTORIES = {ClientRows.__name__: "client", DatagramRows.__name__: "datagram"}


class ConformanceSuite(StreamRows, ClientRows, DatagramRows):
    """One test a row, each with ``IPV6_ADDRFORM`` as the kernel has it and with the kernel refusing
    it. A subclass, whose name begins with ``Test``, names its driver.
    """

    driver: ClassVar[type[Driver]]
    """Made in a process of its own, which has to find it: in a module, or in a file that can be
    run by itself."""
    framework: ClassVar[str] = ""
    """The adapter's name in the registry, if it is there. Rows about clients or datagrams are left
    out where it has no factory for them."""
    declines: ClassVar[Collection[str]] = ()
    """The rows that this adapter declines, of those in :data:`MAY_DECLINE`."""
    _running: ClassVar[dict[bool, DriverProcess]]

    @pytest.fixture(params=["form", "form-denied"])
    def process(self, request: pytest.FixtureRequest) -> Iterator[DriverProcess]:
        """A process with a driver, for one row, after which nothing is open, and nothing mapped has
        been shown in any place or in the log."""
        row = request.function.__name__.removeprefix("test_")
        if row in self.declines:
            pytest.skip(f"declined: {MAY_DECLINE.get(row, 'without a reason')}")
        about = _FACTORIES.get(request.function.__qualname__.partition(".")[0])
        if about and self.framework and getattr(get_framework(self.framework), about) is None:
            pytest.skip(f"the adapter of {self.framework} has no factory {about!r}")
        denied = request.param == "form-denied"
        if denied and not sys.platform.startswith("linux"):
            pytest.skip("only Linux has IPV6_ADDRFORM, and seccomp to deny it")
        process = self._process(request, denied)
        yield process
        log = process.close()
        for places in process.taken_reports():
            forbid_mapped_anywhere(places)
        forbid_mapped("the log", log.splitlines())

    def _process(self, request: pytest.FixtureRequest, denied: bool) -> DriverProcess:
        """The process of the class's rows, which ends with the last of them or when it is broken;
        a fixture of the class's scope is written one way for old and another for new pytests."""
        cls = type(self)
        running: dict[bool, DriverProcess] = cls.__dict__.get("_running", {})
        if not running:
            cls._running = running
            owner = request.node.getparent(pytest.Class)
            owner.addfinalizer(lambda: _end(running))
        if denied in running and running[denied].is_broken:
            running.pop(denied).end()
        if denied not in running:
            running[denied] = DriverProcess(self.driver, form_denied=denied)
        return running[denied]

    def test_declines_only_what_may_be_declined(self) -> None:
        """A row that isn't in the list has to pass."""
        unlisted = sorted(set(self.declines) - set(MAY_DECLINE))
        assert not unlisted, f"{unlisted} may not be declined; these may: {sorted(MAY_DECLINE)}"


def _end(running: dict[bool, DriverProcess]) -> None:
    while running:
        running.popitem()[1].end()
