"""Prometheus metrics of the listeners and connections of dsadapter."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, start_http_server

from dsadapter import hookimpl

if TYPE_CHECKING:
    from dsadapter.interfaces import IListener
    from dsadapter.records import Connection, Leak, Refusal

__all__ = ["LISTEN_VARIABLE", "PrometheusPlugin", "plugin"]

LISTEN_VARIABLE = "DSADAPTER_PROMETHEUS_LISTEN"


class PrometheusPlugin:
    """Counts what it is told of.

    :param registry: where the metrics are kept, and what is exported.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._asked = False
        self._kept: dict[tuple[object, int], _Series] = {}
        self._listeners = Gauge(
            "dsadapter_listeners_open",
            "Listeners that are open.",
            ["framework", "mode"],
            registry=registry,
        )
        by_family = ["framework", "direction", "listener", "family"]
        self._made = Counter(
            "dsadapter_connections",
            "Connections accepted, and connections made by this program.",
            by_family,
            registry=registry,
        )
        self._open = Gauge(
            "dsadapter_connections_open",
            "Connections that are open.",
            by_family,
            registry=registry,
        )
        self._translated = Counter(
            "dsadapter_translations",
            "Connections whose peer the kernel named by an IPv4-mapped address.",
            by_family[:3],
            registry=registry,
        )
        self._refused = Counter(
            "dsadapter_refusals",
            "What a plugin, or the application, refused.",
            ["framework", "operation", "plugin"],
            registry=registry,
        )

        self._leaks = Counter(
            "dsadapter_leaks",
            "Mapped addresses that the guard has seen handed to what can't take them.",
            ["operation", "mode"],
            registry=registry,
        )

    @hookimpl
    def dsadapter_listener_opened(self, listener: IListener) -> None:
        """Count it, and begin to export if that was asked for.

        :raises ValueError: if ``DSADAPTER_PROMETHEUS_LISTEN`` is no address.
        :raises OSError: if its address can't be listened on.
        """
        self._listeners.labels(listener.framework, listener.mode).inc()
        self._export()

    @hookimpl
    def dsadapter_listener_closed(self, listener: IListener) -> None:
        """Count it off."""
        self._listeners.labels(listener.framework, listener.mode).dec()
        for items in (2, 4):
            self._kept.pop((id(listener), items), None)

    @hookimpl
    def dsadapter_connection_made(self, connection: Connection) -> None:
        """Count it, and begin to export if that was asked for.

        :raises ValueError: as for a listener, if nothing listens.
        :raises OSError: likewise.
        """
        series = self._series_of(connection, keep=True)
        series.made.inc()
        series.open.inc()
        if connection.translated:
            series.translated().inc()
        if not self._asked:
            self._export()

    @hookimpl
    def dsadapter_connection_lost(self, connection: Connection) -> None:
        """Count it off."""
        self._series_of(connection, keep=False).open.dec()

    @hookimpl
    def dsadapter_operation_refused(self, refusal: Refusal) -> None:
        """Count it."""
        self._refused.labels(refusal.framework, refusal.operation, refusal.plugin or "").inc()

    def _series_of(self, connection: Connection, *, keep: bool) -> _Series:
        listener = connection.listener
        # What is looked up for each connection is looked up by numbers.
        key = connection.framework if listener is None else id(listener), len(connection.peer)
        kept = self._kept.get(key)
        if kept is not None and kept.listener is listener:
            return kept
        labels = _labels(connection)
        series = _Series(
            listener,
            self._made.labels(*labels),
            self._open.labels(*labels),
            cache(lambda: self._translated.labels(*labels[:3])),
        )
        if keep:
            self._kept[key] = series
        return series

    @hookimpl
    def dsadapter_mapped_address_leaked(self, leak: Leak) -> None:
        """Count it."""
        self._leaks.labels(leak.operation, leak.mode).inc()

    def _export(self) -> None:
        # Once: what fails now fails the next time, too.
        asked, self._asked = self._asked, True
        where = os.environ.get(LISTEN_VARIABLE)
        if where and not asked:
            host, port = _address(where)
            start_http_server(port, host, self._registry)


class _Series(NamedTuple):
    """What the connections of one listener and family are counted with: to look that up takes
    longer than to count."""

    listener: IListener | None
    made: Counter
    open: Gauge
    translated: Callable[[], Counter]
    """Made by the first such connection, so that it is not exported before."""


def _labels(connection: Connection) -> tuple[str, str, str, str]:
    listener = "" if connection.listener is None else str(connection.listener.policy)
    return connection.framework, connection.direction, listener, connection.family


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(
            f"{LISTEN_VARIABLE}={text!r} is no address; write it as '127.0.0.1:9464', "
            f"'[::1]:9464' or '9464'"
        )
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


plugin = PrometheusPlugin()
