"""Middleware around an application that does nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.addressing import timed
from benchmarks.rounds import Samples, interleave
from benchmarks.table import Row, Table, Target
from dsadapter import asgi, wsgi

_COPIES = 100
_HOSTS = {"IPv4": "192.0.2.1", "IPv6": "2001:db8::1", "mapped": "::ffff:192.0.2.1"}


def tables(rounds: int | None) -> Iterator[Table]:
    samples = Samples()
    subjects: dict[str, Callable[[], float]] = {}
    for name, host in _HOSTS.items():
        scope = {"type": "http", "client": (host, 4000), "server": (host, 80)}
        environ = {"REMOTE_ADDR": host, "SERVER_NAME": host}
        pairs: dict[str, tuple[Callable[[Any], None], Callable[[Any], None], dict[str, Any]]] = {
            f"ASGI, {name}": (_asgi(_asgi_application), _asgi(_IN_ASGI), scope),
            f"WSGI, {name}": (_wsgi(_wsgi_application), _wsgi(_IN_WSGI), environ),
        }
        for pair, (bare, wrapped, told) in pairs.items():
            subjects[f"{pair}, bare"] = timed(bare, [told] * _COPIES)
            subjects[pair] = timed(wrapped, [told] * _COPIES)
    interleave(subjects, rounds or 15, samples)
    table = Table(
        "Middleware",
        "CPU time of a request through the middleware to an application that does nothing, less "
        "that of the application alone.",
        samples,
        "µs",
    )
    for name in subjects:
        if not name.endswith("bare"):
            took = (samples.median(name) - samples.median(f"{name}, bare")) / 1000
            table.rows.append(Row(name, took, "µs", target=Target(2)))
    yield table


async def _asgi_application(scope: Any, receive: Any, send: Any) -> None:
    pass


def _wsgi_application(environ: Any, start_response: Any) -> list[bytes]:
    return []


_IN_ASGI = asgi.CanonicalAddresses(_asgi_application)
_IN_WSGI = wsgi.CanonicalAddresses(_wsgi_application)


def _asgi(application: Any) -> Callable[[Any], None]:
    def call(scope: Any) -> None:
        with contextlib.suppress(StopIteration):
            application(scope, None, None).send(None)

    return call


def _wsgi(application: Any) -> Callable[[Any], None]:
    def call(environ: Any) -> None:
        # It is translated in place: each call gets one of its own.
        application(dict(environ), None)

    return call
