"""Datagram ports without a framework, and what they have delivered."""

from __future__ import annotations

import select
from typing import Any

from dsadapter.datagrams import DatagramPort
from dsadapter.listener import Listener
from dsadapter.policy import DatagramPolicy

LIMIT = 1 << 18


class Port:
    """An open port that records."""

    def __init__(self, host: str = "::", **options: Any) -> None:
        self.got: list[Any] = []
        self.refused = 0
        policy = DatagramPolicy(host, 0, **options)
        self.port = DatagramPort(policy, Listener("none", policy))
        self.open()

    def open(self) -> None:
        self.port.open(self.got.extend, self.refuse, details=True)

    @property
    def number(self) -> int:
        number: int = self.port.local_address()[1]
        return number

    def refuse(self) -> None:
        self.refused += 1

    def until(self, count: int) -> None:
        """Read until so many datagrams have come."""
        while len(self.got) < count:
            assert select.select([self.port.sock], [], [], 20)[0], "nothing comes"
            self.port.read(LIMIT)
