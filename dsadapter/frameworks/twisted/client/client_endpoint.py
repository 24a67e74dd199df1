"""The Twisted endpoint that connects to a name, or an address of either family."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Self

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IProtocol,
    IProtocolFactory,
    IResolver,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from dsadapter.addressing.hosts import is_literal, prepare_names
from dsadapter.errors import PluginError, spelling
from dsadapter.frameworks.twisted.client.one_connect import OneConnect, connector_of
from dsadapter.frameworks.twisted.client.resolvers import checked_resolver
from dsadapter.frameworks.twisted.preparing import prepare
from dsadapter.frameworks.twisted.reactors import way_of
from dsadapter.frameworks.twisted.spelling import CONNECTING
from dsadapter.hooks.manager import active_hooks
from dsadapter.messages import spelled
from dsadapter.policy import (
    DEFAULT_ATTEMPT_DELAY,
    DEFAULT_TIMEOUT,
    ConnectPolicy,
    LookupWay,
    MappedAddresses,
    canonical_target,
    socket_name,
)
from dsadapter.sockets.connecting import check_target

prepare_names()


# By type as well: 1 is equal to True.
@lru_cache(typed=True)
def _policy_of(
    timeout: float | None,
    bind_address: str | tuple[str, int] | None,
    attempt_delay: float,
    first_address_family_count: int,
    remember_outcomes: bool,
    mapped_addresses: MappedAddresses,
    lookup: LookupWay,
) -> ConnectPolicy:
    return ConnectPolicy(
        timeout=timeout,
        bind_address=bind_address,
        attempt_delay=attempt_delay,
        first_address_family_count=first_address_family_count,
        remember_outcomes=remember_outcomes,
        mapped_addresses=mapped_addresses,
        lookup=lookup,
    )


@implementer(IStreamClientEndpoint)
class DualStackClientEndpoint:
    """Connect to a name or an address of either family through dual-stack sockets; the application
    passes and sees canonical addresses only.

    :param reactor: the reactor to connect with.
    :param host: an address literal, with a zone id where it needs one, or a name. A mapped literal
        is IPv4.
    :param port: 1 to 65535.
    :param timeout: seconds for the whole, resolving included; None waits for ever.
    :param bindAddress: an address of this machine to connect from, or ``(address, port)``; it
        reaches destinations of its own family only. ``("", port)`` is any address.
    :param attemptDelay: seconds after which the next address is tried beside one that has not
        answered, 0.01 to 2 (RFC 8305, section 8).
    :param resolver: what to resolve names by: an ``IHostnameResolver``, or an ``IResolver`` as
        ``twisted.names`` has them. None is the reactor's.
    :param lookup: ``families`` asks for each address family on its own, and IPv4 waits 50 ms for
        IPv6 (RFC 8305, section 3). ``joint`` asks once, so that the resolver's order of both
        families stands: the system's own is RFC 6724's with the administrator's preferences. None
        is ``joint`` for the reactor's resolver, ``families`` for one that is given.
    :param firstAddressFamilyCount: how many addresses of the first family to try before one of the
        other (RFC 8305, section 8).
    :param rememberOutcomes: begin with the address that has won within the last ten minutes against
        one that was tried before it, as long as this machine reaches both from the addresses that
        it had then.
    :param mappedAddresses: ``unmap`` takes an IPv4-mapped address that the name resolves to as the
        IPv4 address that it means; ``refuse`` leaves it out.
    :raises ValueError: naming the offending value and the form to use.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        bindAddress: str | tuple[str, int] | None = None,
        attemptDelay: float = DEFAULT_ATTEMPT_DELAY,
        resolver: IHostnameResolver | IResolver | None = None,
        firstAddressFamilyCount: int = 1,
        rememberOutcomes: bool = True,
        mappedAddresses: MappedAddresses = "unmap",
        lookup: LookupWay | None = None,
    ) -> None:
        if lookup is None:
            lookup = "joint" if resolver is None else "families"
        options = (
            timeout,
            bindAddress,
            attemptDelay,
            firstAddressFamilyCount,
            rememberOutcomes,
            mappedAddresses,
            lookup,
        )
        try:
            # Most clients connect to many places in one way.
            make = _policy_of if bindAddress is None else _policy_of.__wrapped__
            try:
                policy = make(*options)
            except TypeError:
                # What has no hash is no value for any of them.
                policy = _policy_of.__wrapped__(*options)
            target = canonical_target(host, port)
        except ValueError as error:
            raise spelled(error, CONNECTING) from error.__cause__
        self._set(reactor, target, policy, checked_resolver(resolver))

    @classmethod
    def withPolicy(cls, reactor: Any, target: tuple[str, int], policy: ConnectPolicy) -> Self:
        """The endpoint for a policy that has been made elsewhere.

        :raises ValueError: as the constructor.
        """
        self = cls.__new__(cls)
        self._set(reactor, canonical_target(*target), policy, None)
        return self

    def _set(
        self,
        reactor: Any,
        target: tuple[str, int],
        policy: ConnectPolicy,
        resolver: IHostnameResolver | IResolver | None,
    ) -> None:
        if policy.bind_address is not None:
            with spelling(CONNECTING):
                check_target(target[0], policy.bind_address)
        prepare()
        self._reactor = reactor
        self._target = target
        self._policy = policy
        self._resolver = resolver

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {socket_name(*self._target)}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; every call is on its own.

        :returns: a Deferred with the protocol once it is connected. It fails with a
            ``ConnectingError``, which is a
            ``ConnectError``, if no attempt succeeds; with ``DNSLookupError`` if the name has no
            address; with ``ConnectingCancelledError`` if it is cancelled. When it fires, no other
            attempt's socket is open. It never raises.
        """
        try:
            return self._connect(protocolFactory)
        except PluginError as error:
            return fail(ConnectError(string=str(error)))
        except Exception:
            # What stands in for a reactor may raise anything.
            return fail()

    def _connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        if way_of(self._reactor, "connect", completes=True) != "recording":
            hooks = active_hooks()
            reactor = self._reactor
            resolver = self._resolver
            if is_literal(self._target[0]):
                resolver = None
            elif resolver is None:
                resolver = reactor.nameResolver
            connector = connector_of(reactor, hooks, resolver)
            return OneConnect(reactor, connector, self._target, self._policy, protocolFactory).run()
        policy = self._policy
        endpoint = TCP4ClientEndpoint(
            self._reactor,
            *self._target,
            policy.timeout,  # type: ignore[arg-type]
            policy.bind_address,
        )
        return endpoint.connect(protocolFactory)
