"""Which way a reactor is served: the one decision for listening, connecting and datagrams."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorFDSet, IReactorSocket, IReactorTime
from twisted.internet.posixbase import PosixReactorBase
from zope.interface import implementedBy, providedBy

from dsadapter.frameworks.twisted.log_carrier import carry_log

Way = Literal["watching", "adopting", "completing", "recording"]
"""``watching``: sockets of ours, which the reactor watches. ``adopting``: listening sockets of ours
in the reactor's own ports. ``completing``: connections of ours, by Windows' completion ports.
``recording``: nothing opens, because the reactor notes in a test what it is asked for."""

# Not imported for this: an instance can only exist where its module was. twisted.test.proto_helpers
# has the first two by other names.
_RECORDERS = (
    ("twisted.internet.testing", "MemoryReactor"),
    ("twisted.internet.testing", "RaisingMemoryReactor"),
    ("twisted.names.test.test_util", "MemoryReactor"),
)


_COMPLETING = (("twisted.internet.iocpreactor.reactor", "IOCPReactor"),)


def way_of(reactor: Any, operation: str, *, adopts: bool = False, completes: bool = False) -> Way:
    """How to serve a reactor.

    Twisted's own reactors are watching, as is what stands in for one (``__getattr__``) and so
    provides what it provides. Only Twisted's own test reactors and their subclasses are recording:
    whatever else was taken for one would miss the plugins and see mapped addresses.

    :param operation: what is asked of the reactor, as in ``"listen"``; for the error.
    :param adopts: whether ``adopting`` is a way for this operation.
    :param completes: whether ``completing`` is.
    :raises NotImplementedError: for what can't be served, naming it and the remedy.
    """
    # Not isinstance: a stand-in may claim another class.
    kind: Any = type(reactor)
    way = _way_of_class(kind)
    if way is None or (way == "completing" and not completes):
        way = _declared_way(reactor, operation, adopts)
    carry_log(None if way == "recording" else reactor)
    return way


def completes(reactor: Any) -> bool:
    """Whether a reactor is Twisted's own of Windows' completion ports."""
    kind: Any = type(reactor)
    return _way_of_class(kind) == "completing"


def _declared_way(reactor: Any, operation: str, adopts: bool) -> Way:
    provides = _declaration(reactor)
    if not any(provides(_declared(recorder)) for recorder in _recorders()):
        if provides(_declared(PosixReactorBase)):
            return "watching"
        if adopts and provides(IReactorSocket):
            return "adopting"
        if provides(IReactorFDSet) and provides(IReactorTime):
            return "watching"
    raise NotImplementedError(_refusal(reactor, operation))


@lru_cache(maxsize=16)
def _way_of_class(kind: type) -> Way | None:
    """The way of Twisted's own reactors and of what inherits from them, asked for by each connect;
    None for any other class."""
    if issubclass(kind, _recorders()):
        return "recording"
    if issubclass(kind, PosixReactorBase):
        return "watching"
    return "completing" if issubclass(kind, _loaded(_COMPLETING)) else None


def _declaration(reactor: Any) -> Callable[[Any], bool]:
    """Whether a reactor, or what it stands in for, provides an interface or what a class does."""

    # What a stand-in passes on first: its class has a declaration of its own as soon as a subclass
    # has, which hides that of the reactor.
    pass_on = getattr(type(reactor), "__getattr__", None)
    sources: list[Callable[[], Any]] = [lambda: providedBy(reactor)]
    if pass_on is not None:
        sources.insert(0, lambda: pass_on(reactor, "__providedBy__"))

    def provides(specification: Any) -> bool:
        for source in sources:
            # A stand-in may raise anything.
            with contextlib.suppress(Exception):
                # Called, because one for tracing gives a function around the declaration.
                if source()(specification) is True:
                    return True
        return False

    return provides


def _declared(of: type) -> Any:
    return implementedBy(of)  # type: ignore[no-untyped-call]


def _recorders() -> tuple[type, ...]:
    return _loaded(_RECORDERS)


def _loaded(names: tuple[tuple[str, str], ...]) -> tuple[type, ...]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(kind for kind in found if kind is not None)


def _refusal(reactor: Any, operation: str) -> str:
    name = type(reactor).__name__
    if isinstance(reactor, ReactorBase):
        return (
            f"{name} watches no descriptors (IReactorFDSet) and adopts no sockets "
            f"(IReactorSocket), so it can't {operation} dual-stack; run on another reactor, as "
            f"with 'twist --reactor=select'"
        )
    return (
        f"{name} can't {operation} dual-stack: it is neither a reactor that watches descriptors "
        f"(IReactorFDSet, IReactorTime) nor one of Twisted's test reactors; give one of Twisted's "
        f"reactors, a subclass of MemoryReactorClock in tests, or a stand-in that provides what "
        f"its reactor provides"
    )
