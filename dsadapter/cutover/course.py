"""The course of a cut-over, and the way back from every point of it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO, Self

from dsadapter.cutover.errors import CutoverError, InterruptedCutoverError
from dsadapter.cutover.program import NewServer, User
from dsadapter.cutover.server import RunningServer
from dsadapter.handover import Succession
from dsadapter.handover.parking import require_right_to_park
from dsadapter.sockets.kernel_tables import ENDING, LISTENING, tcp_rows
from dsadapter.sockets.options import set_v6only

_LOOK = 0.05
"""Seconds between two looks at anything."""
_SOON = 2.0
"""Seconds for what was being accepted while the ports were shared."""
_PATIENCE = 5.0
"""Seconds for a new server that has failed to end."""

_HINT = (
    " (its sockets need SO_REUSEPORT: dualstack:PORT:reusePort=yes, or 'dsadapter run --reuse-port "
    "-- PROGRAM')"
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Course:
    """How a cut-over goes."""

    say: Say
    """Gets one line about each step."""
    timeout: float
    """Seconds that the new server has to listen, and the old queue to be read."""
    drain: float
    """Seconds to leave the old server its connections."""
    pause: float = 0.2
    """Seconds between two looks at the queue."""
    one_way: bool = False
    """Go on although parking can't be undone."""
    keep: bool = False
    """Leave the old server running, parked."""
    user: User | None = None
    """Whom to start the new server as."""
    output: IO[bytes] | None = None
    """Where the output of the new server goes."""

    def check(self, old: RunningServer) -> None:
        """Whether a server can be replaced, as far as that can be told before.

        Only sockets of one user share a port (``sk_reuseport`` in ``inet_csk_get_port``).

        :raises CutoverError: if not.
        """
        own = os.geteuid() if self.user is None else self.user.number
        if others := {each.user for each in old.held} - {own}:
            other = min(others)
            raise CutoverError(
                f"user {other} made the sockets of {old}, and only the same user can share a port; "
                + ("run this as root" if os.geteuid() else f"add --user={other}")
            )
        # One that is dual-stack already is most likely to be steered, which takes no right.
        if not self.one_way and not all(each.place.dual_stack for each in old.held):
            try:
                require_right_to_park(one_way=False)
            except OSError as error:
                raise CutoverError(_parking(error)) from None

    def replace(self, old: RunningServer, words: Sequence[str]) -> int:
        """Start a new server, and have it take the place of an old one.

        :returns: the exit status: 0 if that went well, 1 if something is left to do.
        :raises CutoverError: if it can't be; all is as it was before, or the text says what is not.
        :raises InterruptedCutoverError: the same, for a signal.
        """
        self.check(old)
        with _Signals() as signals:
            try:
                new = self._start(old, words, signals)
                return self._succeed(old, new, signals)
            finally:
                old.release()

    def pass_on(self, old: RunningServer, words: Sequence[str]) -> int:
        """Start a new server that gets the sockets of an old one, and end that.

        Nothing in the queue is lost; the old server accepts until it ends.

        :returns: as for :meth:`replace`.
        :raises CutoverError: as for :meth:`replace`.
        :raises InterruptedCutoverError: the same, for a signal.
        """
        with _Signals() as signals:
            try:
                inodes = {each.inode for each in old.held}
                new = NewServer(words, (), user=self.user, output=self.output, passed=old.sockets)
                self.say(f"the new server is process {new.pid}: {new.line}")
                try:
                    end = time.monotonic() + self.timeout
                    while not new.waits_for(inodes):
                        if new.status is not None:
                            raise CutoverError(
                                f"the new server ended with status {new.status} before it waited "
                                f"for connections; nothing has changed"
                            )
                        if time.monotonic() >= end:
                            raise CutoverError(
                                f"the new server does not wait for connections on what it was "
                                f"passed after {self.timeout:g} s; it was ended, nothing else has "
                                f"changed"
                            )
                        self._check(None, signals)
                except BaseException:
                    new.end(_PATIENCE)
                    raise
                self.say("it waits for connections on the same sockets")
                return self._end(old, None, lambda: new.status is None, new.release, signals)
            finally:
                old.release()

    def put_back(self, kept: RunningServer, now: RunningServer) -> int:
        """Have a parked server take over again from the one that took its place.

        :returns: as for :meth:`replace`.
        :raises CutoverError: as for :meth:`replace`.
        :raises InterruptedCutoverError: the same, for a signal.
        """
        with _Signals() as signals:
            try:
                succession = Succession(now.sockets, kept.sockets, earlier=True)
                try:
                    succession.start()
                except OSError as error:
                    raise CutoverError(str(error.strerror)) from None
                self.say(f"new connections go to {kept} again")
                try:
                    self._wait_for_queue(succession, now, kept.is_running, signals)
                    self._wait_for_connections(now, signals)
                    self._check(kept.is_running, signals)
                except BaseException:
                    with suppress(OSError):
                        succession.undo()
                    raise
                return self._end(now, succession, kept.is_running, kept.release, signals)
            finally:
                now.release()
                kept.release()

    def _start(self, old: RunningServer, words: Sequence[str], signals: _Signals) -> NewServer:
        try:
            self._make_room(old, signals)
            known = {row.inode for row in tcp_rows(LISTENING)}
            new = NewServer(words, known, user=self.user, output=self.output)
        except BaseException:
            old.share_no_more()
            raise
        self.say(f"the new server is process {new.pid}: {new.line}")
        try:
            self._wait_for_listeners(old, new, signals)
        except BaseException:
            self._give_up(old, new, None)
            raise
        names = " and ".join(map(str, new.places))
        self.say(f"it listens on {names}")
        return new

    def _make_room(self, old: RunningServer, signals: _Signals) -> None:
        """Have the ports shared, and see that they can be bound to."""
        soon = time.monotonic() + _SOON
        end = soon + self.timeout
        told = False
        while True:
            old.share_ports()
            error = None if self.user is not None else _cannot_bind(old.ports)
            if error is None:
                return
            if error.errno == errno.EACCES:
                raise CutoverError(
                    f"ports {_ports(old)} take the right CAP_NET_BIND_SERVICE; run this as root"
                )
            waiting = sum(row.port in old.ports and not row.inode for row in tcp_rows(*ENDING))
            if time.monotonic() >= (end if waiting else soon):
                raise CutoverError(
                    f"port {_ports(old)} can't be shared ({error.strerror}): another socket is "
                    f"bound to it; 'ss -tanp' shows which"
                )
            if waiting and not told:
                told = True
                self.say(
                    f"waiting for {waiting} ended connections, which hold the port (TIME_WAIT)"
                )
            self._check(None, signals)

    def _wait_for_listeners(self, old: RunningServer, new: NewServer, signals: _Signals) -> None:
        places = [each.place for each in old.held]
        end = time.monotonic() + self.timeout
        while missing := new.look(places, old.family):
            status = new.status
            if status:
                raise CutoverError(
                    f"the new server ended with status {status} before it listened on "
                    f"{' and '.join(missing)}{_HINT}; nothing has changed"
                )
            if time.monotonic() >= end:
                raise CutoverError(
                    f"the new server does not listen on {' and '.join(missing)} after "
                    f"{self.timeout:g} s{_HINT}; it was ended, nothing else has changed"
                )
            if not old.is_running():
                # What waits in its queue is reset, rather than left without an answer.
                old.release()
            self._check(None, signals)

    def _succeed(self, old: RunningServer, new: NewServer, signals: _Signals) -> int:
        if not old.is_running():
            new.release()
            self.say("the old server ended by itself meanwhile")
            return 1
        succession = Succession(old.sockets, new.sockets, one_way=self.one_way)
        try:
            parks = succession.parks
            self._check(new.is_serving, signals)
            try:
                succession.start()
            except OSError as error:
                raise CutoverError(_parking(error)) from None
            how = "the old sockets are parked" if parks else "new connections are steered"
            self.say(f"{how}: what is new comes to the new server")
            self._wait_for_queue(succession, old, new.is_serving, signals)
            if self.keep:
                new.release()
                self.say(
                    f"the old server is kept; to put it back: dsadapter cutover --back --pid "
                    f"{old.processes[0].pid}; to end it: kill {old.processes[0].pid}"
                )
                return 0
            self._wait_for_connections(old, signals, new.is_serving)
            self._check(new.is_serving, signals)
        except BaseException:
            self._give_up(old, new, succession)
            raise
        return self._end(old, succession, new.is_serving, new.release, signals)

    def _wait_for_queue(
        self,
        succession: Succession,
        server: RunningServer,
        serving: Callable[[], bool],
        signals: _Signals,
    ) -> None:
        start = time.monotonic()
        while not succession.look():
            if not server.is_running():
                return
            if time.monotonic() - start >= self.timeout:
                raise CutoverError(
                    f"{server} does not accept what waits in its queue; is it stuck? all is as it "
                    f"was"
                )
            self._check(serving, signals, self.pause)
        self.say(f"its queue was empty twice, after {time.monotonic() - start:.1f} s")

    def _wait_for_connections(
        self,
        server: RunningServer,
        signals: _Signals,
        serving: Callable[[], bool] | None = None,
    ) -> None:
        count = server.connections()
        if not count:
            return
        end = time.monotonic() + self.drain
        self.say(f"{_connections(count)} of the old server left, for {self.drain:g} s at most")
        while (count := server.connections()) and time.monotonic() < end and server.is_running():
            self._check(serving, signals, self.pause)
        if count and server.is_running():
            self.say(f"{_connections(count)} left, which it ends with")

    def _end(
        self,
        server: RunningServer,
        succession: Succession | None,
        serving: Callable[[], bool],
        release: Callable[[], None],
        signals: _Signals,
    ) -> int:
        """End a server in whose place another one serves, with duplicates to release."""
        names = str(server)
        # Before it closes them: a duplicate would keep them open.
        server.release()
        for process in server.processes:
            process.send(signal.SIGTERM)
        end = time.monotonic() + self.timeout
        # Interrupted, or left by the other one, there is nothing to go back to.
        with suppress(InterruptedCutoverError, CutoverError):
            while (server.stragglers() or server.is_running()) and time.monotonic() < end:
                self._check(serving, signals)
        if succession is not None:
            with suppress(OSError):
                succession.finish()
        release()
        if left := server.stragglers():
            pids = " ".join(str(process.pid) for process in left)
            self.say(
                f"{names} still runs after SIGTERM, with nothing new; to end it: kill -9 {pids}"
            )
            return 1
        self.say(f"{names} has ended")
        return 0

    def _give_up(self, old: RunningServer, new: NewServer, succession: Succession | None) -> None:
        """Have all as it was, as far as that can be; the new server ends."""
        if not old.is_running():
            self.say("the old server has ended by itself; the new one goes on")
            return
        if succession is not None:
            try:
                succession.undo()
            except OSError:
                if new.is_serving():
                    new.release()
                    self.say(
                        f"the old server stays parked, and the new one, process {new.pid}, serves; "
                        f"to end the old one: kill {old.processes[0].pid}"
                    )
                else:
                    self.say(
                        "the old server stays parked, for want of CAP_NET_RAW, and the new one has "
                        "ended: start the new one again"
                    )
                return
        if new.sockets and new.is_serving():
            # It may have got some already.
            back = Succession(new.sockets, old.sockets, earlier=True)
            with suppress(OSError):
                back.start()
                back.wait(pause=_LOOK, timeout=_PATIENCE)
            new.end(_PATIENCE)
            with suppress(OSError):
                back.finish()
        else:
            new.end(_PATIENCE)
        old.share_no_more()

    def _check(
        self, serving: Callable[[], bool] | None, signals: _Signals, pause: float = _LOOK
    ) -> None:
        signals.wait(pause)
        if serving is not None and not serving():
            raise CutoverError("the new server has ended; the old one goes on")


class _Signals:
    """SIGINT, SIGTERM and SIGHUP, heeded between two steps, never in the middle of one."""

    # Windows, where a cut-over is refused, has no SIGHUP.
    _NAMES = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self) -> None:
        self._got = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in (getattr(signal, name) for name in self._NAMES):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._got = True

    def wait(self, seconds: float) -> None:
        """Wait.

        :raises InterruptedCutoverError: if a signal has come.
        """
        end = time.monotonic() + seconds
        while not self._got and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))
        if self._got:
            self._got = False
            raise InterruptedCutoverError("interrupted")


def _cannot_bind(ports: set[int]) -> OSError | None:
    """Why a dual-stack socket can't be bound to the ports beside the old one; nothing listens."""
    for port in ports:
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                set_v6only(probe, False)
                probe.bind(("::", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return error
    return None


def _parking(error: OSError) -> str:
    if error.errno == errno.EPERM:
        return (
            "parking the old sockets can't be undone without the right CAP_NET_RAW; run this as "
            "root, or add --one-way"
        )
    return str(error.strerror)


def _ports(old: RunningServer) -> str:
    return ",".join(map(str, sorted(old.ports)))


def _connections(count: int) -> str:
    return f"{count} connection{'s are' if count > 1 else ' is'}"
