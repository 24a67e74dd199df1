"""The end of a covered process, and of its children by ``fork`` and ``multiprocessing``."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any


def call_at_end(finish: Callable[[], object], forked: Callable[[], object]) -> None:
    """Have a function called when this process ends, and each that comes from it by a fork.

    :param finish: a function of a module; it may be called more than once.
    :param forked: called in a child before anything else.
    """

    def finish_there(_function: object) -> None:
        util: Any = sys.modules["multiprocessing.util"]
        util.Finalize(None, finish, exitpriority=-1000)

    def after_fork(_function: object = None) -> None:
        forked()
        util: Any = sys.modules.get("multiprocessing.util")
        if util is not None:
            # Its children end by os._exit, and forget what is to be done then before they begin.
            util.register_after_fork(finish, finish_there)

    atexit.register(finish)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=after_fork)
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        import multiprocessing.util

        finish_there(multiprocessing.util)
