"""Files that configure servers: INI, TOML, YAML, units of systemd, command lines."""

from __future__ import annotations

from dsadapter.migration.configuration.checking import scan_configuration

__all__ = ["scan_configuration"]
