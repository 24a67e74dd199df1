"""``dsadapter cutover``: replace a running server without losing a connection."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from dsadapter.cli.console import Console
from dsadapter.cli.errors import CommandError
from dsadapter.cli.run_parser import ports

if TYPE_CHECKING:
    from dsadapter.cutover.course import Course
    from dsadapter.cutover.server import RunningServer

_EPILOG = """\
NEW is started in a session of its own, and outlives this command. Once it listens wherever OLD
does, new connections go to it; OLD gets SIGTERM when its queue has been empty twice. If NEW fails,
or on Ctrl-C, all is as it was.

Takes the right to trace OLD (root, or its user) and, to be undone, CAP_NET_RAW. NEW must share the
port (SO_REUSEPORT): dualstack:PORT:reusePort=yes, or dsadapter run --reuse-port -- PROGRAM.

exit status: 0 done, 1 done, but something is left to do, 2 the cut-over failed
"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "cutover",
        help="replace a running server without losing a connection",
        usage="dsadapter cutover --pid OLD [OPTIONS] -- NEW [ARGUMENT ...]\n"
        "       dsadapter cutover --pid OLD --back [OPTIONS]",
        description="Replace a running server, which knows nothing of this, without losing a "
        "connection (Linux).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--pid",
        type=_pid,
        action="append",
        required=True,
        metavar="OLD",
        help="the process to replace, with all that it has started; may be given twice",
    )
    parser.add_argument("--only", type=ports, metavar="PORT,...", help="replace these ports alone")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and change nothing"
    )
    parser.add_argument(
        "--drain",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="leave OLD its connections for so long (30)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long NEW may take to listen, and OLD to accept what waits, or to end (60)",
    )
    parser.add_argument(
        "--one-way", action="store_true", help="go on without the right to undo it (CAP_NET_RAW)"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave OLD running, with nothing new, to be put back"
    )
    parser.add_argument(
        "--back", action="store_true", help="put a kept OLD back; what runs instead ends"
    )
    parser.add_argument(
        "--adopt",
        action="store_true",
        help="pass OLD's sockets on to NEW (dualstack:systemd=0), instead of replacing them",
    )
    parser.add_argument("--user", metavar="USER", help="start NEW as this user (root only)")
    parser.add_argument(
        "--log", metavar="FILE", help="append NEW's output to a file, instead of mixing it in here"
    )
    parser.add_argument("new", nargs=argparse.REMAINDER, metavar="NEW", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Replace the server, or put it back."""
    if not sys.platform.startswith("linux"):
        raise CommandError("it is for Linux, where one process can borrow another's sockets")
    from dsadapter.cutover.errors import CutoverError, InterruptedCutoverError
    from dsadapter.cutover.program import User

    words = options.new[1:] if options.new[:1] == ["--"] else options.new
    if options.back and words:
        raise CommandError("--back starts nothing; leave NEW away")
    if options.adopt and (options.keep or options.back):
        raise CommandError("with --adopt, OLD has the same sockets; leave --keep and --back away")
    if not options.back and not words:
        raise CommandError("name the new server: dsadapter cutover --pid OLD -- NEW [ARGUMENT ...]")
    user = None
    if options.user is not None:
        try:
            user = User.named(options.user)
        except LookupError:
            raise CommandError(
                f"there is no user {options.user!r}; name one, or its number"
            ) from None
    output = _opened(options.log)
    try:
        return _run(options, words, user, output)
    except CutoverError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.strerror or error}; all is as it was") from None
    except InterruptedCutoverError:
        Console().line(("interrupted", "yellow"))
        return 130
    finally:
        if output is not None:
            output.close()


def _run(
    options: argparse.Namespace, words: Sequence[str], user: Any, output: IO[bytes] | None
) -> int:
    from dsadapter.cutover.course import Course
    from dsadapter.cutover.server import RunningServer
    from dsadapter.cutover.successors import current_servers

    console = Console()
    course = Course(
        lambda text: console.line(("* ", "green"), text),
        timeout=options.timeout,
        drain=options.drain,
        one_way=options.one_way,
        keep=options.keep,
        user=user,
        output=output,
    )
    old = RunningServer(
        options.pid, only=options.only, parked=options.back, passed_on=options.adopt
    )
    _describe(console, old)
    if options.back:
        now = RunningServer(current_servers(old), only=old.ports)
        _describe(console, now)
        return 0 if options.dry_run else course.put_back(old, now)
    if options.adopt and not options.dry_run:
        return course.pass_on(old, words)
    if options.adopt:
        console.line(f"would start {shlex.join(words)} with these sockets, and then send SIGTERM")
        old.release()
        return 0
    course.check(old)
    if options.dry_run:
        _plan(console, course, old, words)
        old.release()
        return 0
    return course.replace(old, words)


def _describe(console: Console, server: RunningServer) -> None:
    names = " and ".join(str(each.place) for each in server.held)
    console.line(f"{server} listens on {names}, with {server.connections()} connections")
    for unit in map(shlex.quote, server.units):
        console.line(
            ("note: ", "yellow"),
            f"{unit} looks after it, and won't look after NEW: have NEW in a unit of its own "
            f"('-- systemctl start NEW.service'); keep it from starting OLD again: "
            f"mkdir -p /run/systemd/system/{unit}.d && printf '[Service]\\nRestart=no\\n' "
            f">/run/systemd/system/{unit}.d/once.conf && systemctl daemon-reload",
        )


def _plan(console: Console, course: Course, old: RunningServer, words: Sequence[str]) -> None:
    console.line("would share its ports (SO_REUSEPORT)")
    console.line(f"would start {shlex.join(words)}, and wait {course.timeout:g} s for it to listen")
    console.line("would have new connections go to it, and wait until the old queue is empty twice")
    if course.keep:
        console.line("would leave the old server running, with nothing new")
    else:
        console.line(
            f"would wait {course.drain:g} s for the connections of the old server, and send "
            f"SIGTERM to {' '.join(str(process.pid) for process in old.processes)}"
        )


def _opened(name: str | None) -> IO[bytes] | None:
    if name is None:
        return None
    try:
        return open(name, "ab")
    except OSError as error:
        raise CommandError(f"{name} can't be written: {error.strerror}") from None


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:10]) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a process")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
