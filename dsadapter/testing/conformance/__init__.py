"""The conformance suite: every place where an address passes between the kernel and an application,
with real sockets of both families.

A subclass of :class:`ConformanceSuite` that names a driver is collected by pytest as any class
of tests is, and drives the adapter in processes of its own::

    class TestMine(ConformanceSuite):
        driver = MyDriver
"""

from __future__ import annotations

from dsadapter.command_lines import extra

try:
    import pytest
except ImportError:
    raise ImportError(
        "the conformance suite needs pytest, which is not installed; "
        f"install it with: {extra('testing')}"
    ) from None

_ROWS = ("suite", "judging", "stream_rows", "client_rows", "datagram_rows")
pytest.register_assert_rewrite(*(f"{__name__}.{each}" for each in _ROWS))

from dsadapter.testing.conformance.declining import MAY_DECLINE  # noqa: E402
from dsadapter.testing.conformance.suite import ConformanceSuite  # noqa: E402

__all__ = ["MAY_DECLINE", "ConformanceSuite"]
