"""New sockets take the place of old ones, by whatever way loses nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from dsadapter.handover.cookies import take_cookies, without_losing_cookies
from dsadapter.handover.draining import HANDSHAKES, Draining, wait_for
from dsadapter.handover.looking import inode
from dsadapter.handover.parking import is_parked, park, require_right_to_park, unpark
from dsadapter.handover.places import Place, group_of, receives, require_successors
from dsadapter.handover.steering import count_others, steer, unsteer
from dsadapter.sockets.handing_on import HasDescriptor


class Succession:
    """New sockets, and old ones whose place they take.

    Old sockets of the group of new ones are passed over by :func:`steer`, all others by
    :func:`park`: Linux has a group for each address, family and ``IPV6_V6ONLY``, and leaves a port
    that goes from two sockets to one, or from one to two, with the old ones, wholly or for IPv6.

    :param old: listening sockets, or bound datagram sockets that are in no group with new ones.
    :param new: sockets that serve all that the old ones do. Those that are parked are unparked by
        :meth:`start`: that is the way back.
    :param one_way: go on although it can't be undone here, for want of ``CAP_NET_RAW``.
    :param earlier: whether the new sockets have listened before the old ones.
    """

    def __init__(
        self,
        old: Sequence[HasDescriptor],
        new: Sequence[HasDescriptor],
        *,
        one_way: bool = False,
        earlier: bool = False,
    ) -> None:
        self._old, self._new = tuple(old), tuple(new)
        self._one_way = one_way
        self._earlier = earlier
        self._draining: Draining | None = None
        self._parked: list[HasDescriptor] = []
        self._unparked: list[HasDescriptor] = []
        self._steered: list[Sequence[HasDescriptor]] = []

    @property
    def parks(self) -> bool:
        """Whether there is an old socket that is in no group with a new one."""
        return bool(self._apart())

    def start(self, *, handshakes: float = HANDSHAKES) -> None:
        """Have what is new come to the new sockets alone.

        :param handshakes: seconds to wait at most for handshakes that are under way.
        :raises OSError: with everything as it was: see :func:`park` and :func:`steer`.
        """
        if self.parks:
            require_right_to_park(one_way=self._one_way)
        try:
            with without_losing_cookies(self._apart(), self._new):
                self._start()
        except BaseException:
            self.undo()
            raise
        self._draining = Draining(self._old, handshakes=handshakes)

    def _start(self) -> None:
        self._unparked = [sock for sock in self._new if is_parked(sock)]
        unpark(self._unparked)
        require_successors(self._old, self._new)
        groups = self._groups()
        apart = self._apart()
        steered = {place for sock in self._old if (place := group_of(sock)) in groups}
        inodes = {inode(sock) for sock in apart}
        for sockets in (groups[place] for place in groups.keys() & steered):
            others = 0 if self._earlier else count_others(sockets, apart=inodes)
            self._steered.append(sockets)
            steer(sockets, others=others)
        self._parked = [sock for sock in apart if not is_parked(sock)]
        if apart:
            park(apart, self._new, one_way=True)

    def look(self) -> bool:
        """Whether the old sockets can close: nothing has waited in them now and the time before.

        :raises OSError: ``EOPNOTSUPP`` where the system does not tell.
        """
        return self._draining is not None and self._draining.look()

    def wait(self, *, pause: float = 0.2, timeout: float = 30.0) -> bool:
        """Look until the old sockets can close, while others accept.

        :param pause: seconds between two looks.
        :param timeout: seconds to wait at most.
        :returns: whether they can.
        """
        assert self._draining is not None, "start() comes first"
        return wait_for(self._draining, pause=pause, timeout=timeout)

    def undo(self) -> None:
        """Have what is new come to the old sockets again; the new ones should close then.

        :raises OSError: ``EPERM`` without ``CAP_NET_RAW`` if old sockets are parked.
        """
        parked, self._parked = self._parked, []
        unpark(parked)
        take_cookies(parked)
        self.finish()
        self._draining = None
        # Last, so that there is always one that serves.
        unparked, self._unparked = self._unparked, []
        if unparked:
            park(unparked, self._old, one_way=True)

    def finish(self) -> None:
        """Have new connections spread over all sockets of a group again, once the old ones have
        closed: some of the new ones, or of those that come later, would be passed over.

        :raises OSError: as :func:`unsteer`.
        """
        for sockets in self._steered:
            unsteer(sockets)
        self._steered = []

    def _apart(self) -> list[HasDescriptor]:
        groups = self._groups()
        return [sock for sock in self._old if group_of(sock) not in groups]

    def _groups(self) -> dict[Place, list[HasDescriptor]]:
        groups: dict[Place, list[HasDescriptor]] = defaultdict(list)
        for sock in self._new:
            place = group_of(sock)
            if place is not None and (receives(sock) or is_parked(sock)):
                groups[place].append(sock)
        return groups


def replace(
    old: Sequence[HasDescriptor],
    new: Sequence[HasDescriptor],
    *,
    pause: float = 0.2,
    timeout: float = 30.0,
    one_way: bool = False,
) -> bool:
    """Have new sockets take the place of old ones, while other threads accept from both; see
    :class:`Succession` for event loops.

    :param pause: seconds between two looks at the queues of the old ones.
    :param timeout: seconds to wait at most.
    :param one_way: go on although it can't be undone here, for want of ``CAP_NET_RAW``.
    :returns: True if the old sockets can close; False if connections wait in them still: then all
        is as it was, or, one way, they still drain.
    :raises OSError: with everything as it was: see :func:`park` and :func:`steer`.
    """
    succession = Succession(old, new, one_way=one_way)
    succession.start()
    if succession.wait(pause=pause, timeout=timeout):
        return True
    try:
        succession.undo()
    except PermissionError:
        if not one_way:
            raise
    return False
