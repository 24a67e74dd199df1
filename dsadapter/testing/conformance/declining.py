"""Which rows of the suite an adapter may decline, and why."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MAY_DECLINE: Mapping[str, str] = MappingProxyType(
    {
        "adopted_descriptor": "the framework adopts no descriptors",
        "proxy_header": "PROXY headers are read by what stands before the framework, or not at all",
        "tls": "the framework leaves TLS to the application",
    }
)
"""Rows by the names of their tests without ``test_``."""
