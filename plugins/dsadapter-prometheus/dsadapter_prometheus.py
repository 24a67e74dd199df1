"""Prometheus metrics of the listeners and connections of dsadapter."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    start_http_server,
)

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
        self._kept: dict[tuple[object, str, bool], _Kept] = {}
        self._tallies: dict[tuple[_Labels, bool], _Tally] = {}
        self._taking = threading.Lock()
        # Where worker processes share their values, another one is scraped.
        self._at_once = any(map(os.environ.get, _SHARED_VALUES))
        self._listeners = Gauge(
            "dsadapter_listeners_open",
            "Listeners that are open.",
            ["framework", "mode"],
            registry=registry,
        )
        by_family = ["framework", "direction", "listener", "family"]
        self._made = _LateCounter(
            "dsadapter_connections",
            "Connections accepted, and connections made by this program.",
            by_family,
            registry=registry,
        )
        self._open = _LateGauge(
            "dsadapter_connections_open",
            "Connections that are open.",
            by_family,
            registry=registry,
        )
        self._translated = _LateCounter(
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
        for late in (self._made, self._open, self._translated):
            late.before = self._take

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
        for family in ("ipv4", "ipv6"):
            for translated in (False, True):
                self._kept.pop((id(listener), family, translated), None)

    @hookimpl
    def dsadapter_connection_made(self, connection: Connection) -> None:
        """Count it, and begin to export if that was asked for.

        :raises ValueError: as for a listener, if nothing listens.
        :raises OSError: likewise.
        """
        listener = connection.listener
        # What is looked up for each connection is looked up by what costs no call.
        whose = connection.framework if listener is None else id(listener)
        kept = self._kept.get((whose, connection.family, connection.translated))
        (self._tally_of(connection, keep=True) if kept is None else kept).made()
        if self._at_once:
            self._take()
        if not self._asked:
            self._export()

    @hookimpl
    def dsadapter_connection_lost(self, connection: Connection) -> None:
        """Count it off."""
        listener = connection.listener
        whose = connection.framework if listener is None else id(listener)
        kept = self._kept.get((whose, connection.family, connection.translated))
        (self._tally_of(connection, keep=False) if kept is None else kept).lost()
        if self._at_once:
            self._take()

    @hookimpl
    def dsadapter_operation_refused(self, refusal: Refusal) -> None:
        """Count it."""
        self._refused.labels(refusal.framework, refusal.operation, refusal.plugin or "").inc()

    def _tally_of(self, connection: Connection, *, keep: bool) -> _Tally:
        listener = connection.listener
        translated = connection.translated
        labels = _labels(connection)
        # One step, so that threads that come at once get the same.
        tally = self._tallies.setdefault((labels, translated), _Tally())
        if keep:
            whose = connection.framework if listener is None else id(listener)
            self._kept[whose, connection.family, translated] = _Kept(listener, tally)
        return tally

    def _take(self) -> None:
        """Take over what has been tallied since the last time."""
        with self._taking:
            for (labels, translated), tally in list(self._tallies.items()):
                made, lost = tally.taken()
                self._made.labels(*labels).inc(made)
                self._open.labels(*labels).inc(made - lost)
                if translated:
                    self._translated.labels(*labels[:3]).inc(made)

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


_Labels = tuple[str, str, str, str]

_SHARED_VALUES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
"""Variables of ``prometheus_client`` for workers that share their values."""


class _LateCounter(Counter):
    """A counter that is brought up to date when it is read."""

    before: Callable[[], None]

    def collect(self) -> Iterable[Metric]:
        self.before()
        return super().collect()


class _LateGauge(Gauge):
    """A gauge likewise."""

    before: Callable[[], None]

    def collect(self) -> Iterable[Metric]:
        self.before()
        return super().collect()


class _Tally:
    """Connections of one set of labels.

    Servers of threads count at once, and a metric's lock takes longer than all the rest: a step of
    ``itertools.count`` needs none.
    """

    __slots__ = ("_lost", "_made", "_were", "lost", "made")

    def __init__(self) -> None:
        self._made, self._lost = count(), count()
        self.made, self.lost = self._made.__next__, self._lost.__next__
        self._were = 0, 0

    def taken(self) -> tuple[int, int]:
        """How many were made and lost since the last time; for one thread at a time."""
        # Before those that are made meanwhile, so that no more are lost than made.
        lost = next(self._lost)
        made = next(self._made)
        had_made, had_lost = self._were
        # To look is a step, too.
        self._were = made + 1, lost + 1
        return made - had_made, lost - had_lost


class _Kept:
    """What the connections of one listener and family are counted with."""

    __slots__ = ("_listener", "lost", "made")

    def __init__(self, listener: IListener | None, tally: _Tally) -> None:
        # As long as it is kept, no other one has its id.
        self._listener = listener
        self.made, self.lost = tally.made, tally.lost


def _labels(connection: Connection) -> _Labels:
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
