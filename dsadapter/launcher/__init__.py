"""``dsadapter run -- PROGRAM``: a program that was written for one family serves both, unchanged.

:func:`install` does the same for one process, as the first line of its program.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

__all__ = ["install"]


def install(
    *,
    only: Iterable[int] | None = None,
    excepted: Iterable[int] = (),
    widen: bool = False,
    merge_pairs: bool = False,
    explain: bool = False,
    file: str | None = None,
    guard: Literal["log"] | None = None,
    guard_report: str | None = None,
    reuse_port: bool = False,
) -> None:
    """Cover this process as ``dsadapter run`` does; to be called before the program imports what
    listens. Children are covered where they call it, too.

    :param only: the ports whose listeners are widened; None for every one.
    :param excepted: ports whose listeners stay as the program makes them.
    :param widen: make a listener on 0.0.0.0 dual-stack, too.
    :param merge_pairs: make a pair with one accept loop behind it one socket.
    :param explain: list the listeners on standard error when the process ends.
    :param file: where to list them at every change, a JSON object a line.
    :param guard: ``"log"`` lists mapped addresses on standard error when the process ends, by
        source line: those that arrived, and those that were handed to what can't take them.
    :param guard_report: where to list these as they come, a JSON object a line.
    :param reuse_port: have listeners share their port (``SO_REUSEPORT``), for a restart or a
        cut-over.
    """
    from dsadapter.launcher.installing import install_here
    from dsadapter.launcher.settings import Settings

    install_here(
        Settings(
            only=only,
            excepted=excepted,
            widen=widen,
            merge_pairs=merge_pairs,
            explain=explain,
            file=file,
            guard=guard is not None,
            guard_report=guard_report,
            reuse_port=reuse_port,
        )
    )
