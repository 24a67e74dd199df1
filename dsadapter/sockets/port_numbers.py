"""Ports as users of ``socket`` and asyncio give them."""

from __future__ import annotations

import socket

from dsadapter.messages import quoted


def port_number(port: int | str | bytes | None, protocol: str) -> int:
    """The number that a port means, as ``loop.getaddrinfo`` has it.

    :param port: a number, its digits, the name of a service, or None and ``""`` for 0. Whether the
        number is one of a port is for a policy to say.
    :param protocol: ``"tcp"`` or ``"udp"``, which have services of their own.
    :raises socket.gaierror: ``EAI_SERVICE`` for an unknown service.
    """
    if not isinstance(port, (str, bytes)):
        return 0 if port is None else port
    text = port.decode("utf-8", "replace") if isinstance(port, bytes) else port
    if not text:
        return 0
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    try:
        return socket.getservbyname(text, protocol)
    except (OSError, ValueError):
        raise socket.gaierror(
            socket.EAI_SERVICE,
            f"port {quoted(port)} is no number and no service of this machine; "
            f"give a number from 0 to 65535",
        ) from None
