"""``dsadapter COMMAND``: what it runs, and how every command fails."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from dsadapter.cli.errors import FAILED, CommandError

_RUN = ["run", "--"]
_CANT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :returns: the exit status: 0, 1 if a command has something to report, 2 if it failed.
    """
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    command = words[0] if words else ""
    # Python has None for what is closed; the program of "run" finds it closed as ever.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        status = _run(words)
        sys.stdout.flush()
    except CommandError as error:
        from dsadapter.cli.console import Console

        Console(sys.stderr).line(f"dsadapter {command}: {error}")
        return FAILED
    except BrokenPipeError:
        # The reader, such as head, has seen enough.
        _give_up_output()
        return FAILED
    except OSError as error:
        if error.errno not in _CANT_WRITE:
            raise
        _give_up_output()
        sys.stderr.write(f"dsadapter {command}: the output can't be written: {error.strerror}\n")
        return FAILED
    except KeyboardInterrupt:
        return 130
    return status


def _give_up_output() -> None:
    # Python would complain again at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    if words[:2] == _RUN:
        # Nothing to parse, and a parser takes as long as Python itself.
        from dsadapter.cli.run import start

        return start(words[2:])
    from dsadapter.cli.parser import parsed

    options = parsed(words)
    status: int = options.run(options)
    return status
