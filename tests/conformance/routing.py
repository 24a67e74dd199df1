"""Twisted's reactors, routed."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import _threadedselect, asyncioreactor, selectreactor
from twisted.internet.test import reactormixins
from twisted.trial.unittest import SynchronousTestCase


def routed(route: type) -> dict[str, Any]:
    """The reactors with a mixin before them, by the names that Twisted's tests look up in the
    module that has the mixin."""

    def behind(reactor: type) -> type:
        return type(reactor.__name__, (route, reactor), {})

    asyncio_reactor = behind(asyncioreactor.AsyncioSelectorReactor)

    def make_asyncio_reactor(case: SynchronousTestCase) -> asyncioreactor.AsyncioSelectorReactor:
        """Twisted's tests make this one by a function, which gives it an event loop of its own."""
        reactor = reactormixins.asyncioSelectorReactor(case)
        reactor.__class__ = asyncio_reactor
        return reactor

    plain: list[type] = [selectreactor.SelectReactor, _threadedselect.ThreadedSelectReactor]
    if sys.platform == "win32":
        from twisted.internet.iocpreactor.reactor import IOCPReactor

        plain.append(IOCPReactor)
    else:
        from twisted.internet import epollreactor, pollreactor

        plain += [epollreactor.EPollReactor, pollreactor.PollReactor]
    return {
        **{reactor.__name__: behind(reactor) for reactor in plain},
        "AsyncioSelectorReactor": make_asyncio_reactor,
    }
