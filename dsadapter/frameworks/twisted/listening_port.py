"""What all our listening ports have in common: a life, and errors as Twisted has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from twisted.internet.error import CannotListenError
from zope.interface import implementer

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import PluginError
from dsadapter.frameworks.twisted.preparing import prepare
from dsadapter.frameworks.twisted.spelling import LISTENING
from dsadapter.hooks.contracts import IListener
from dsadapter.listener import Listener
from dsadapter.messages import spelled
from dsadapter.policy import DatagramPolicy, ListenMode, ListenPolicy

if TYPE_CHECKING:
    from dsadapter.proxied import ProxyCounters, ProxyGate

P = TypeVar("P", ListenPolicy, DatagramPolicy)


class PolicyEndpoint(Generic[P]):
    """An endpoint is a reactor and a policy."""

    _reactor: Any
    _policy: P

    @classmethod
    def withPolicy(cls, reactor: Any, policy: P) -> Self:
        """The endpoint for a policy that has been made elsewhere."""
        self = cls.__new__(cls)
        self._settle(reactor, policy)
        return self

    def _settle(self, reactor: Any, policy: P) -> None:
        prepare()
        self._reactor = reactor
        self._policy = policy

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._policy} ({self._policy.mode})>"


def one_text(interface: Any) -> Any:
    """Several addresses as a policy has them; what is no list of them is the policy's to refuse."""
    if isinstance(interface, (list, tuple)) and all(isinstance(each, str) for each in interface):
        return ",".join(interface)
    return interface


@implementer(IListener)
class ListeningPort(Generic[P]):
    """A port's side of ``IListener``: what its life says."""

    framework = "twisted"
    policy: P
    _life: Listener
    _gate: ProxyGate | None = None

    def _settle(self, policy: P) -> None:
        self.policy = policy
        self._life = Listener(self.framework, policy, self)

    @property
    def mode(self) -> ListenMode:
        """Which address families are served, and by how many sockets."""
        return self._life.mode

    def addresses(self) -> tuple[SocketAddress, ...]:
        """The canonical addresses of the sockets, as last bound; empty before that."""
        return self._life.addresses()

    @property
    def proxyCounters(self) -> ProxyCounters | None:
        """What proxies have passed on, and what was closed for which reason; None without
        ``proxyFrom``."""
        return None if self._gate is None else self._gate.counters


@contextmanager
def cannot_listen(policy: ListenPolicy | DatagramPolicy) -> Iterator[None]:
    """Raise ``CannotListenError`` for an ``OSError``, and for a plugin that is missing or refuses,
    in the spelling of Twisted's users."""
    try:
        yield
    except OSError as error:
        cause = spelled(error, LISTENING)
        raise CannotListenError(policy.host, policy.port, cause) from cause
    except PluginError as error:
        raise CannotListenError(policy.host, policy.port, error) from error
