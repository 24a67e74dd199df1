"""The hooks that a plugin may implement, each marked with :data:`dsadapter.hookimpl`.

Common to all: an implementation names only the arguments that it wants. It is a plain function, not
``async``, and no pluggy wrapper; one that is not is refused when its plugin registers. It is called
in the thread of the framework, which it must not block: Twisted's is the reactor thread. Several
plugins are called in pluggy's order, the last registered first, ``tryfirst`` and ``trylast``
respected. Whatever it raises is caught, but ``KeyboardInterrupt`` and
``SystemExit``. A hook that nobody implements costs nothing.

This module is the table of hooks. ``register_`` hooks are called when a plugin registers, or when
what they contribute is asked for,
``before_`` hooks are checks, which may refuse; all others are observers, which have one argument
and an attribute of :class:`~dsadapter.hooks.dispatch.Hooks` each.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from pluggy import HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsadapter.doctor import Check
    from dsadapter.hooks.contracts import IFrameworkAdapter, IListener
    from dsadapter.migration import Rule
    from dsadapter.policy import DatagramPolicy, ListenPolicy
    from dsadapter.records import Attempt, Connection, Leak, Refusal

hookspec = HookspecMarker("dsadapter")


class Implementation(NamedTuple):
    """One plugin's implementation of one hook."""

    plugin: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    """The names of those of the hook's arguments that it takes, in its own order."""


@hookspec
def dsadapter_register_frameworks() -> IFrameworkAdapter | Sequence[IFrameworkAdapter] | None:
    """Contribute framework adapters.

    **Called** once a plugin, when it registers, in the thread that registers it: for an installed
    plugin the first that opens something or asks for a framework.

    **An exception**, or what does not verify as
    :class:`~dsadapter.hooks.contracts.IFrameworkAdapter`, or a name that another plugin has taken:
    the plugin is not registered, and one message says so.

    **Costs** whatever it imports, at the first use of any endpoint: import the framework itself in
    the factories.

    :returns: one adapter, several, or None.
    """


@hookspec
def dsadapter_register_rules() -> Rule | Sequence[Rule] | None:
    """Contribute rules to ``dsadapter scan``.

    **Called** once a plugin and scan, in the thread of the command, for installed plugins.

    **An exception**, or what is no rule, or a pattern whose id is taken: the scan fails and says
    so. A scan that left rules out would call a file clean that is not.

    **Costs** nothing elsewhere: no server asks.

    :returns: one :class:`~dsadapter.migration.Rule`, several, or None.
    """


@hookspec
def dsadapter_register_checks() -> Check | Sequence[Check] | None:
    """Contribute checks to ``dsadapter doctor``.

    **Called** once a plugin and run of the command, for installed plugins, in a process of its own;
    each check then runs in another one. Import :mod:`dsadapter.doctor` in the function.

    **An exception**, a hang, or what is no check, ends that process alone: a row says so, and the
    exit status is that of the other rows. Neither the function nor a check may bind to a port that
    was asked about.

    **Costs** nothing elsewhere: no server asks.

    :returns: one :class:`~dsadapter.doctor.Check`, several, or None.
    """


@hookspec
def dsadapter_before_bind(sock: socket.socket, policy: ListenPolicy | DatagramPolicy) -> None:
    """Look at a socket that is about to be bound, set options of your own on it, or refuse.

    **Called** once per socket that listens or receives datagrams, after its options are set and
    before ``bind``; for an inherited one (``policy.inherited``), which is bound, before it is used.

    **An exception** refuses this one operation: the socket is closed and the application gets the
    error that its framework has for not being able to listen. ``PermissionError("reason")`` is how
    to refuse. Any other exception reads as a fault of the plugin, as do a value other than None and
    a closed socket, a changed timeout or a changed ``IPV6_V6ONLY``, which is read back: they refuse
    as well. A plugin can't widen what was asked for, nor make a server wait in one call.

    **Costs** one call per socket.

    :param sock: unbound; its addresses are canonical.
    :param policy: what was asked for; ``policy.host`` and ``policy.port`` are canonical.
    """


@hookspec
def dsadapter_before_connect(sock: socket.socket, attempt: Attempt) -> None:
    """Look at a socket that is about to connect, set options of your own on it, or refuse.

    **Called** once per attempt at one address, after the socket's options are set and before
    ``bind`` and ``connect``. A name with several addresses makes several attempts.

    **An exception** refuses this one attempt, by the rules of ``dsadapter_before_bind``: the socket
    is closed, and the next address is tried. If no attempt succeeds, the application's error has
    the reason in its text.

    **Costs** one call per attempt.

    :param sock: unbound; its addresses are canonical.
    :param attempt: where to; ``attempt.destination`` is canonical, however the application or a
        resolver spelled it.
    """


@hookspec
def dsadapter_listener_opened(listener: IListener) -> None:
    """A listener accepts connections, or receives datagrams, from now on.

    **Called** once each time that it opens; one that is opened again is told of again.

    **An exception** is logged, at a limited rate; other plugins are called and the listener stays
    open. What is returned is ignored, with a message.

    **Costs** one call per listener.
    """


@hookspec
def dsadapter_listener_closed(listener: IListener) -> None:
    """A listener has closed: exactly once after ``dsadapter_listener_opened``.

    Connections that it accepted may live on.

    **Called**, and **an exception** dealt with, as ``dsadapter_listener_opened``; **costs** the
    same.
    """


@hookspec
def dsadapter_connection_made(connection: Connection) -> None:
    """A connection has been accepted, or one that this program makes is established; the
    application has built its protocol, which has not been told yet.

    **Called** once per connection, of both directions: ``connection.direction`` says which, and
    ``connection.listener`` is None for an outbound one. A plugin that registers while a listener is
    open is told of the connections from then on.

    **An exception** is logged, at a limited rate; other plugins are called and the connection is
    not touched. What is returned is ignored, with a message.

    **Costs** one plain call per connection and the making of the record, which all plugins share;
    pluggy is not involved. ``docs/benchmarks.md`` has the figure.
    """


@hookspec
def dsadapter_connection_lost(connection: Connection) -> None:
    """A connection has ended, and its protocol has been told.

    **Called** exactly once per connection that was made while the plugin was registered, with the
    record that ``dsadapter_connection_made`` was given, unless the plugin has gone by then. Ready
    sockets, asyncio, Trio, AnyIO and ``dualstack:`` call it just before the descriptor closes,
    others after.

    **An exception** is dealt with as for ``dsadapter_connection_made``; **costs** the same.
    """


@hookspec
def dsadapter_operation_refused(refusal: Refusal) -> None:
    """Something did not happen because somebody said no: a plugin that refused in
    ``dsadapter_before_bind`` or ``dsadapter_before_connect``, or the application, whose factory
    built no protocol for a connection that is closed again.

    **Called** once per refusal.

    **An exception** is dealt with as for ``dsadapter_connection_made``; **costs** nothing but for
    what is refused.
    """


@hookspec
def dsadapter_mapped_address_leaked(leak: Leak) -> None:
    """The guard (:mod:`dsadapter.guard`) has seen a mapped address handed to a socket, or to a
    lookup, that can't take it, by whatever code of this process.

    **Called** once per leak, in the thread that leaks, inside of the call; what the plugin itself
    leaks meanwhile is not seen.

    **An exception** is dealt with as for ``dsadapter_connection_made``; **costs** nothing where the
    guard isn't installed.
    """


ARGUMENTS = {
    name: tuple(inspect.signature(function).parameters)
    for name, function in list(globals().items())
    if name.startswith("dsadapter_")
}
"""The names of each hook's arguments."""

CHECKS = tuple(hook for hook in ARGUMENTS if hook.startswith("dsadapter_before_"))
OBSERVERS = tuple(
    hook for hook in ARGUMENTS if hook not in CHECKS and not hook.startswith("dsadapter_register_")
)
CONNECTION_OBSERVERS = tuple(hook for hook in OBSERVERS if ARGUMENTS[hook] == ("connection",))
