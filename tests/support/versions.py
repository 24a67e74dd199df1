"""What the installed versions have not, in words that the CI accepts."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest
import twisted
from incremental import Version
from twisted.internet import endpoints
from twisted.protocols.ftp import FTP

PYTHON = f"CPython {sys.version_info.major}.{sys.version_info.minor}"
_INSTALLED = f"Twisted {twisted.__version__}"
CONCH_LOGS_USERS_IN = twisted.version >= Version("Twisted", 23, 8, 0)
SERVES_DIRECTORIES = hasattr(endpoints, "wrapServerTLS")
TESTS_IPV6_MULTICAST = importlib.util.find_spec("twisted.internet._multicast") is not None
FTP_SPEAKS_IPV6 = hasattr(FTP, "ftp_EPSV")


def lacking(what: str) -> str:
    """The reason of a skip: the installed Twisted lacks something."""
    return f"{_INSTALLED} {what}"


HAS_CGI = importlib.util.find_spec("cgi") is not None


def _needs_cgi(importer: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not HAS_CGI,
        reason=f"{PYTHON} has no cgi, which {importer} imports",
    )


runs_twisted_22 = _needs_cgi("Twisted 22.10")
runs_tahoe = _needs_cgi("tahoe-lafs")


def is_excused(report: pytest.TestReport) -> bool:
    """Whether a test was skipped for what this Python or this kernel lacks, for what the oldest
    Twisted lacks in a run that is meant to have the oldest (``OLDEST`` is set), or as a row of the
    suite for adapters that this one may decline."""
    reason = str(report.longrepr)
    lacks = bool(os.environ.get("OLDEST")) and f"Skipped: {_INSTALLED} " in reason
    others = (f"Skipped: {PYTHON} ", "Skipped: this kernel has no ", "Skipped: declined: ")
    return lacks or any(other in reason for other in others)
