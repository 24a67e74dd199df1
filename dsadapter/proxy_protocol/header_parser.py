"""The parser of one connection's header, whichever version it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsadapter.errors import ProxyHeaderError
from dsadapter.messages import quoted
from dsadapter.proxy_protocol import version_1, version_2

if TYPE_CHECKING:
    from dsadapter.proxy_protocol.proxy_header import ProxyHeader


class ProxyHeaderParser:
    """Parses the header of one connection, in whatever pieces it comes.

    :param max_length: bytes of a version 2 header at most; a longer one is refused as soon as its
        length is known.
    """

    def __init__(self, max_length: int = version_2.MAX_V2_LENGTH) -> None:
        self._max_length = max_length
        self._received = b""
        self._header: ProxyHeader | None = None
        self._error: str | None = None

    @property
    def rest(self) -> bytes:
        """What has come behind the header, and is the application's; empty before its end."""
        return self._received if self._header is not None else b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take the next bytes of the connection.

        :returns: the header, once, with its last byte; what came behind it is in :attr:`rest`. None
            as long as more is to come.
        :raises ProxyHeaderError: as soon as the bytes can't be a header, and for any bytes after
            that; the connection has to end.
        :raises RuntimeError: behind the end of the header.
        """
        if self._header is not None:
            raise RuntimeError("the header is complete; what follows is the application's")
        if self._error is not None:
            raise ProxyHeaderError(self._error)
        received = self._received = self._received + data if self._received else bytes(data)
        try:
            version: Any = version_2
            if received.startswith(version_2.SIGNATURE):
                length = version_2.length_of(received, self._max_length)
            elif version_2.SIGNATURE.startswith(received):
                return None
            elif version_1.START.startswith(received[: len(version_1.START)]):
                version = version_1
                length = version_1.length_of(received)
            else:
                raise _no_header(received)
            if length is None:
                return None
            header: ProxyHeader = version.parse(received[:length])
            self._header = header
        except ProxyHeaderError as error:
            self._error = str(error)
            self._received = b""
            raise
        self._received = received[length:]
        return header

    def end(self) -> None:
        """Take the end of the connection.

        :raises ProxyHeaderError: unless the header was complete.
        """
        if self._header is not None:
            return
        if self._error is None:
            self._error = (
                f"the connection ended within a PROXY header, after {quoted(self._received)}"
                if self._received
                else "the connection ended without a PROXY header"
            )
        raise ProxyHeaderError(self._error)


def _no_header(received: bytes) -> ProxyHeaderError:
    start = received[:32]
    return ProxyHeaderError(
        f"what begins with {quoted(start)} is no PROXY header; let the proxy send one (HAProxy: "
        f"send-proxy-v2; nginx: proxy_protocol on)"
    )
