"""What every endpoint does when it is made."""

from __future__ import annotations

from dsadapter.frameworks.twisted.log_carrier import carry_log
from dsadapter.hooks.manager import get_plugin_manager


def prepare() -> None:
    """Load the plugins now: root and user may have changed when the endpoint opens sockets, and
    what can't be imported then can't refuse. What loading says reaches Twisted's log.
    """
    carry_log()
    get_plugin_manager()
