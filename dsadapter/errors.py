"""The exceptions of the package."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dsadapter.messages import quoted, said_by, spelled

__all__ = [
    "AddressFamilyError",
    "BindAddressError",
    "NotDualStackError",
    "PluginError",
    "ProxyHeaderError",
    "RefusedError",
    "UnknownFrameworkError",
]


class RestorableError(Exception):
    """A base, not to be caught: survives copy and pickle whatever its constructor takes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[Exception], args: tuple[Any, ...]) -> Exception:
    error = kind.__new__(kind, *args)
    # The built-in one, past the constructors that make the arguments.
    (OSError if issubclass(kind, OSError) else Exception).__init__(error, *args)
    return error


class AddressFamilyError(RestorableError, OSError):
    """This machine, or the sandbox around this process, has no socket of an address family.

    The message gives the reason and the remedy. As an ``OSError`` it carries the ``errno`` of the
    call that failed, or ``EAFNOSUPPORT`` where no call did.
    """

    def __init__(self, message: str, cause: OSError | None = None) -> None:
        number = cause.errno if cause is not None and cause.errno else errno.EAFNOSUPPORT
        super().__init__(number, message)
        self.reason = message if cause is None else str(cause.strerror)
        """What the system said, without the remedy."""


class NotDualStackError(AddressFamilyError):
    """This machine has no dual-stack sockets, or the socket at hand is not one."""


class BindAddressError(RestorableError, OSError):
    """The address to connect from can't be used, here or for this destination.

    The message names both addresses and the remedy.
    """


class ProxyHeaderError(ValueError):
    """What a proxy sent is no header of the PROXY protocol.

    The message quotes what came, at most 100 bytes of it.
    """


class PluginError(RestorableError):
    """A plugin is broken, is required and missing, or has refused an operation.

    The message names the plugin, the hook if one was called, and the remedy.
    """

    def __init__(self, message: str, plugin: str) -> None:
        super().__init__(message)
        self.plugin = plugin
        """The name of the plugin: that of its entry point, or the one it was registered under."""


class RefusedError(PluginError):
    """A plugin has refused one operation, or has failed where it decides about one."""

    def __init__(self, message: str, plugin: str, reason: str, address: tuple[Any, ...]) -> None:
        super().__init__(message, plugin)
        self.reason = reason
        """Why, without the name of the plugin."""
        self.address = address
        """Where the operation would have listened or connected to; two items only for IPv4."""


class UnknownFrameworkError(LookupError):
    """No plugin contributes a framework of this name, or the framework is not installed.

    The message says which frameworks exist and what to install.
    """


@contextmanager
def spelling(names: Mapping[str, str]) -> Iterator[None]:
    """Raise what is wrong with a parameter in the spelling of a framework's users.

    :param names: as for :func:`~dsadapter.messages.spelled`.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        raise spelled(error, names) from error.__cause__


@contextmanager
def naming(host: str) -> Iterator[None]:
    """Have a lookup that fails say for which name.

    :raises socket.gaierror: in the place of the resolver's, with its number.
    """
    # Most of this module's users have no sockets.
    from socket import gaierror

    try:
        yield
    except gaierror as error:
        reason = error.strerror or said_by(error)
        raise gaierror(error.errno, f"no address for the name {quoted(host)}: {reason}") from error


@contextmanager
def plugin_errors_as_os_errors() -> Iterator[None]:
    """For frameworks whose users expect an ``OSError`` alone.

    :raises PermissionError: in the place of a :class:`PluginError`, which is its cause.
    """
    try:
        yield
    except PluginError as error:
        raise permission_error(error) from error


def permission_error(error: PluginError) -> PermissionError:
    """What stands for a :class:`PluginError` there."""
    return PermissionError(errno.EPERM, str(error))
