"""A resolver that answers as a test tells it to, and what became of its answers."""

from __future__ import annotations

from typing import Any

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
