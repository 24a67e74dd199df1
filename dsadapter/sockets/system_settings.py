"""What sysctl(8) says of the network; other systems than Linux say nothing."""

from __future__ import annotations

from pathlib import Path

_SETTINGS = Path("/proc/sys/net")


def setting_text(name: str) -> str | None:
    """A setting below ``net``, such as ``ipv4/ip_local_port_range``; None where there is none."""
    try:
        # ASCII's codec may not be loaded yet, and out of reach by now.
        return (_SETTINGS / name).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def setting(name: str) -> int | None:
    """The same as a number; None for what is none, too."""
    try:
        return int(setting_text(name) or "")
    except ValueError:
        return None
