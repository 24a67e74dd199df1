"""The leak guard as its users type it, under mypy strict; what is ignored has to be wrong."""

from __future__ import annotations

from dsadapter import guard, hookimpl
from dsadapter.records import Leak


class Alarm:
    @hookimpl
    def dsadapter_mapped_address_leaked(self, leak: Leak) -> None:
        print(leak.address, leak.operation, leak.place)


def main() -> None:
    guard.install()
    guard.install("raise")
    guard.install("loud")  # type: ignore[arg-type]
    with guard.recorded() as seen:
        try:
            print(guard.is_installed())
        except guard.MappedAddressLeak as error:
            print(error.leak.line, error.leak is seen[0])
    first: Leak
    for first, count in guard.leaks():
        print(first.file, count + 1)
    guard.uninstall()
