"""A datagram port whose application asks for each datagram, in a framework of coroutines."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator

from dsadapter.coroutines import CoroutineWaiting
from dsadapter.datagrams.port import DatagramPort
from dsadapter.listener import Listener
from dsadapter.packetinfo.receiving import Datagram
from dsadapter.policy import DatagramPolicy
from dsadapter.sockets.system_errors import system_error

_READ_AT_ONCE = 1 << 18


class PulledDatagrams:
    """Datagrams for who asks for them; no datagram is lost to a coroutine that is cancelled.

    :param framework: its name, as plugins are told it.
    :raises ValueError: for a policy of several addresses.
    :raises PluginError: as :meth:`~dsadapter.datagrams.DatagramPort.open`.
    :raises OSError: as :meth:`~dsadapter.datagrams.DatagramPort.open`.
    """

    def __init__(self, framework: str, policy: DatagramPolicy, waiting: CoroutineWaiting) -> None:
        self.port = DatagramPort(policy, Listener(framework, policy))
        self.sock = self.port.open(self._deliver, self._refuse, unreachable=self._say, details=True)
        self._waiting = waiting
        self._arrived: deque[Datagram] = deque()
        self._said: OSError | None = None
        self._waiters = 0
        try:
            self.port.life.opened()
        except BaseException:
            self.port.close()
            raise

    @property
    def has_arrived(self) -> bool:
        """Whether there is a datagram that need not be waited for."""
        return bool(self._arrived)

    def _deliver(self, arrived: Iterator[Datagram]) -> None:
        self._arrived.extend(arrived)

    def _refuse(self) -> None:
        self._say(system_error(errno.ECONNREFUSED))

    def _say(self, error: OSError) -> None:
        self._said = error

    def close(self) -> None:
        """Close the port; who waits is woken, and what has come and was not taken is gone."""
        if self.port.is_open:
            self._waiting.notify_closing(self.sock)
            self._arrived.clear()
            self.port.close()

    async def receive(self) -> Datagram:
        """Payload, sender, and where it arrived.

        :raises ConnectionRefusedError: once, where the peer of a connected port has refused one.
        :raises OSError: ``EBADF`` if the port is closed; once, what else ICMP says of the peer of a
            connected one; any other if it is of no more use.
        """
        await self._waiting.checkpoint_if_cancelled()
        waited = False
        while True:
            if self._said is not None:
                said, self._said = self._said, None
                raise said
            if self._arrived:
                if waited:
                    return self._arrived.popleft()
                # Taken before the last chance to be cancelled, it would be lost.
                await self._waiting.cancel_shielded_checkpoint()
                waited = True
                continue
            self._check_open()
            # Who waits finds in the system alone what has come.
            rest = self.port.read(1 if self._waiters else _READ_AT_ONCE)
            if self._arrived or self._said is not None:
                continue
            waited = True
            self._waiters += 1
            try:
                if rest:
                    await self._waiting.sleep(rest)
                else:
                    await self._waiting.until_readable(self.sock)
            finally:
                self._waiters -= 1

    async def send(
        self,
        data: bytes,
        address: tuple[str, int] | None = None,
        source: str | None = None,
        interface: str | int | None = None,
    ) -> int:
        """Send a datagram, when there is room for it; as
        :meth:`~dsadapter.datagrams.DatagramPort.send`.

        :returns: how many bytes were sent.
        :raises OSError: ``EBADF`` if the port is closed.
        """
        await self._waiting.checkpoint_if_cancelled()
        waited = False
        while True:
            self._check_open()
            try:
                # What an earlier datagram met takes the place of this one's sending, once.
                sent = self.port.send(data, address, source, interface)
                if sent is None:
                    sent = self.port.send(data, address, source, interface)
            except BlockingIOError:
                await self._waiting.until_writable(self.sock)
                waited = True
            else:
                if not waited:
                    await self._waiting.cancel_shielded_checkpoint()
                return len(data) if sent is None else sent

    def _check_open(self) -> None:
        if not self.port.is_open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
