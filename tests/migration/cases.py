"""Programs in a few lines, for the tests of the rules."""

from __future__ import annotations

from textwrap import dedent

from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.scanning import Scanner

REACTOR = "from twisted.internet import reactor\nfactory = make()\n"
ENDPOINTS = (
    "from twisted.internet import reactor\n"
    "from twisted.internet.endpoints import (\n"
    "    SSL4ServerEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString)\n"
)
SERVICES = "from twisted.application import internet, strports\n"


def found(source: str) -> list[Finding]:
    """What a scan of a source finds."""
    return Scanner().python(dedent(source).encode()) or []


def summary(source: str) -> list[tuple[str, str]]:
    """The pattern and the certainty of everything that is found."""
    return [(finding.pattern, finding.certainty.value) for finding in found(source)]


def certain(source: str) -> list[str]:
    """The patterns that are certain."""
    return [f.pattern for f in found(source) if f.certainty is Certainty.CERTAIN]
