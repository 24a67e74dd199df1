"""What the guard raises."""

from __future__ import annotations

from typing import Any

from dsadapter.records import Leak


class MappedAddressLeak(Exception):  # noqa: N818
    """A mapped address was about to be handed to what can't take it.

    It is no ``OSError``: programs forgive those.
    """

    def __init__(self, leak: Leak) -> None:
        super().__init__(str(leak))
        self.leak = leak
        """What was seen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.leak,), {**vars(self)}
