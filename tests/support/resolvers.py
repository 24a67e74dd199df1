"""Resolvers that answer as a test tells them to, and what became of their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from zope.interface import implementer

from dsadapter import hookimpl


@implementer(IHostResolution)
class Resolution:
    def __init__(self, name: str) -> None:
        self.name = name
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@implementer(IHostnameResolver)
class Scripted:
    """Answers before it returns, and tells whether there is more to come.

    :param answers: addresses by the types that are asked for.
    """

    def __init__(self, *answers: Any, complete: bool = True) -> None:
        self.answers = answers
        self.complete = complete
        self.asked: list[Any] = []
        self.resolutions: list[Resolution] = []

    def resolveHostName(
        self,
        receiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        self.asked.append((hostName, addressTypes))
        resolution = Resolution(hostName)
        self.resolutions.append(resolution)
        receiver.resolutionBegan(resolution)
        for answer in self.answers:
            if addressTypes is None or isinstance(answer, tuple(addressTypes)):
                receiver.addressResolved(answer)
        if self.complete:
            receiver.resolutionComplete()
        return resolution


class Hosts(Scripted):
    """Answers by name.

    :param addresses: as text, in their order.
    """

    def __init__(self, addresses: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.addresses = addresses

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, *args: Any, **kwargs: Any
    ) -> Any:
        self.answers = tuple(
            (IPv6Address if ":" in address else IPv4Address)("TCP", address, portNumber)
            for address in self.addresses.get(hostName.removesuffix("."), ())
        )
        return super().resolveHostName(receiver, hostName, portNumber, *args, **kwargs)


class Tried:
    """The addresses of all attempts, in the order of trying."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    @hookimpl
    def dsadapter_before_connect(self, attempt: Any) -> None:
        self.addresses.append(attempt.destination[0])

    def since(self) -> list[str]:
        taken, self.addresses = self.addresses, []
        return taken
