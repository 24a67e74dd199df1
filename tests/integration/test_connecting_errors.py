"""The errors of connecting travel: to other processes, and into copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from support.listeners import RecordingFactory
from support.reactors import Reactor
from support.resolvers import Hosts, Tried
from support.silent import silent
from twisted.internet import error

from dsadapter import hookimpl
from dsadapter.errors import BindAddressError
from dsadapter.frameworks.twisted import ConnectingError, DualStackClientEndpoint
from dsadapter.testing import registered

NAME = "name.example"


class Refusing(Tried):
    @hookimpl
    def dsadapter_before_connect(self, attempt: Any) -> None:
        raise ValueError("not there")


CASES: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    "127.0.0.1": (error.ConnectionRefusedError, {}),
    NAME: (error.ConnectionRefusedError, {}),
    "127.0.0.9": (error.TimeoutError, {"timeout": 0.05}),
    "127.0.0.2": (error.ConnectBindError, {"bindAddress": "192.0.2.77"}),
    "127.0.0.3": (ConnectingError, {}),
    "other.example": (error.DNSLookupError, {}),
}


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize("host", CASES)
def test_it_survives(reactor: Reactor, host: str, way: Callable[[Any], Any]) -> None:
    kind, options = CASES[host]
    reactor.installNameResolver(Hosts({NAME: ["127.0.0.1", "127.0.0.4"]}))
    with silent("127.0.0.9") as port:
        endpoint = DualStackClientEndpoint(reactor, host, port, **options)
        with registered(Refusing() if host == "127.0.0.3" else Tried()):
            with pytest.raises(kind) as raised:
                reactor.result_of(endpoint.connect(RecordingFactory()))
    met: Any = raised.value
    other = way(met)
    assert type(other) is type(met)
    assert str(other) == str(met)
    if host == "other.example":
        return
    assert other.osError == met.osError
    assert [str(attempt) for attempt in other.attempts] == [str(a) for a in met.attempts]
    assert [type(attempt.error) for attempt in other.attempts] == [
        type(attempt.error) for attempt in met.attempts
    ]


def test_an_error_of_a_bind_address_survives() -> None:
    met = BindAddressError(22, "bind_address ::1 can't be used")
    for other in (copy.copy(met), pickle.loads(pickle.dumps(met))):
        assert type(other) is BindAddressError
        assert (other.errno, other.strerror) == (met.errno, met.strerror)
