"""What is changed in a covered process: one row a method, in groups that are on or off as a whole.

The page of ``dsadapter run`` and ``--explain`` are made of it, and each row is tested.
"""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Row:
    """One method.

    :param owner: the class in the module; empty for the module itself.
    :param name: the method.
    :param make: what makes the replacement of the original and the module, as ``module:function``.
    :param why: what it is for.
    :param inherited: whether the class inherits it, so that deleting undoes it.
    """

    __slots__ = ("inherited", "make", "name", "owner", "why")

    def __init__(
        self, owner: str, name: str, make: str, why: str, *, inherited: bool = True
    ) -> None:
        self.owner = owner
        self.name = name
        self.make = f"dsadapter.launcher.{make}"
        self.why = why
        self.inherited = inherited

    @property
    def place(self) -> str:
        """The method as its module has it."""
        return f"{self.owner}.{self.name}" if self.owner else self.name


class Group:
    """The rows of one module.

    :param name: what people call it.
    :param module: once it is imported, the rows are put in.
    :param rows: all or none of them.
    :param tested: the oldest and the newest release that the tests run with; None for what comes
        with Python.
    :param guard: tells of a module why its rows can't be put in, or None.
    :param arrives: told of the module before its rows are put in.
    :param only_counts: whether its rows are put in for ``--guard`` alone.
    """

    __slots__ = ("arrives", "guard", "module", "name", "only_counts", "rows", "tested")

    def __init__(
        self,
        name: str,
        module: str,
        rows: Sequence[Row],
        *,
        tested: tuple[str, str] | None = None,
        guard: str | None = None,
        arrives: str | None = None,
        only_counts: bool = False,
    ) -> None:
        self.name = name
        self.module = module
        self.rows = tuple(rows)
        self.tested = tested
        self.guard = guard and f"dsadapter.launcher.{guard}"
        self.arrives = arrives and f"dsadapter.launcher.{arrives}"
        self.only_counts = only_counts


# By the name of each method: what makes its replacement, and why.
_ALL = {
    "__init__": ("methods:init", "the family of a given descriptor is the kernel's"),
    "_accept": ("methods:accept_descriptor", "the address of the peer"),
    "getpeername": ("methods:name", "the address of the peer"),
    "getsockname": ("methods:name", "the local address"),
    "bind": ("methods:bind", "packet information is asked for before; a pair stays a pair"),
    "listen": ("methods:listen", "widens, and tells plugins"),
    "connect": ("methods:connect", "takes IPv4 addresses, and asks plugins"),
    "connect_ex": ("methods:connect_ex", "takes IPv4 addresses, and asks plugins"),
    "recvfrom": ("methods:receive", "the sender of a datagram; forged ones are dropped"),
    "recvfrom_into": ("methods:receive", "the sender of a datagram; forged ones are dropped"),
    "recvmsg": ("methods:receive", "the sender of a datagram; forged ones are dropped"),
    "recvmsg_into": ("methods:receive", "the sender of a datagram; forged ones are dropped"),
    "sendto": ("methods:send", "takes IPv4 addresses; an answer leaves from where it was asked"),
    "sendmsg": ("methods:send", "takes IPv4 addresses; an answer leaves from where it was asked"),
}
# Windows' sockets have no recvmsg, and nothing like it.
_METHODS = {name: made for name, made in _ALL.items() if hasattr(_socket.socket, name)}


def _inherited(owner: str) -> list[Row]:
    return [Row(owner, name, *made) for name, made in _METHODS.items() if name != "__init__"]


ELSEWHERE = {"granian": "Rust", "robyn": "Rust", "socketify": "C++"}
"""The language in which a server accepts that no method of Python's reaches, by its module."""

GROUPS: tuple[Group, ...] = (
    Group(
        "socket",
        "socket",
        [
            Row("socket", "__init__", *_METHODS["__init__"], inherited=False),
            Row("socket", "accept", "methods:accept", "the address of the peer", inherited=False),
            *_inherited("socket"),
            Row("socket", "detach", "methods:detach", "readers of it see IPv4", inherited=False),
            Row("socket", "_real_close", "methods:close", "plugins are told", inherited=False),
        ],
    ),
    Group(
        "dsadapter",
        "dsadapter.sockets.canonical",
        [
            Row("CanonicalSocket", "bind", "methods:inherited_bind", "ours do it themselves"),
            *(
                Row("CanonicalSocket", name, "methods:inherited", "ours do it themselves")
                for name in (
                    "listen",
                    "connect",
                    "connect_ex",
                    "recvfrom",
                    "recvfrom_into",
                    "recvmsg",
                    "recvmsg_into",
                    "sendto",
                    "sendmsg",
                )
                if name in _METHODS
            ),
        ],
    ),
    Group(
        "guard",
        "dsadapter.sockets.canonical",
        [
            Row(
                "CanonicalSocket",
                "_accepted_as",
                "guarding:own",
                "--guard: counts",
                inherited=False,
            ),
            Row("CanonicalSocket", "_accept", "guarding:own", "--guard: counts", inherited=False),
            Row(
                "CanonicalSocket",
                "acceptor",
                "guarding:acceptor",
                "--guard: counts",
                inherited=False,
            ),
        ],
        only_counts=True,
    ),
    Group(
        "asyncio",
        "asyncio.base_events",
        [
            Row(
                "BaseEventLoop",
                "create_server",
                "servers:create_server",
                "--merge-pairs: a server's pair is one socket",
                inherited=False,
            )
        ],
    ),
    Group(
        "Proactor",
        "asyncio.windows_events",
        [
            Row("IocpProactor", name, f"proactor:{make}", why, inherited=False)
            for name, make, why in (
                ("accept", "accept", "it asks no socket for a connection; plugins are told"),
                ("connect", "connect", "takes IPv4 addresses, and asks plugins"),
                ("recvfrom", "receive", "the sender of a datagram; forged ones are dropped"),
                ("recvfrom_into", "receive", "the sender of a datagram; forged ones are dropped"),
                (
                    "sendto",
                    "send",
                    "takes IPv4 addresses; an answer leaves from where it was asked",
                ),
            )
        ],
    ),
    Group(
        "guard of loops",
        "dsadapter.frameworks.asyncio.loop_sockets",
        [
            Row(
                "AcceptingSocket",
                "hand",
                "guarding:hand",
                "--guard: counts",
                inherited=False,
            )
        ],
        only_counts=True,
    ),
    Group(
        "uvloop",
        "uvloop",
        [
            Row("Loop", "create_server", "loops:create_server", "accepts, and widens"),
            Row("Loop", "create_connection", "loops:create_connection", "mapped literals; plugins"),
            Row(
                "Loop",
                "connect_accepted_socket",
                "loops:connect_accepted_socket",
                "names that it reads from the descriptor",
            ),
            Row(
                "Loop",
                "create_datagram_endpoint",
                "loop_datagrams:create_datagram_endpoint",
                "the sender of a datagram",
            ),
        ],
        tested=("0.21", "0.23"),
    ),
    Group(
        "gevent",
        "gevent._socket3",
        [
            Row("_wrefsocket", "__init__", *_METHODS["__init__"]),
            *_inherited("_wrefsocket"),
            Row("_wrefsocket", "detach", "methods:detach", "readers of it see IPv4"),
            Row("_wrefsocket", "close", "methods:close_object", "plugins are told"),
        ],
        tested=("24.2", "26.9"),
    ),
    Group("trio", "trio._socket", [], tested=("0.27", "0.35"), guard="guards:trio_is_late"),
    Group(
        "twisted",
        "twisted.internet.posixbase",
        [
            Row(
                "PosixReactorBase",
                name,
                f"reactors:{make}",
                why,
                inherited=False,
            )
            for name, make, why in (
                ("listenTCP", "listen_tcp", "a listener on :: is one of ours"),
                ("listenUDP", "listen_udp", "a port on :: is one of ours"),
                ("adoptStreamPort", "adopt_stream_port", "the family is the kernel's"),
                ("adoptStreamConnection", "adopt_stream_connection", "the family is the kernel's"),
                ("adoptDatagramPort", "adopt_datagram_port", "the family is the kernel's"),
                ("connectTCP", "connect_tcp", "a mapped literal is IPv4"),
            )
        ],
        tested=("22.10", "26.10"),
    ),
    Group(
        "twisted on completion ports",
        "twisted.internet.iocpreactor.reactor",
        [
            Row("IOCPReactor", name, f"reactors:{make}", why, inherited=False)
            for name, make, why in (
                ("listenTCP", "listen_tcp", "a listener on :: is one of ours"),
                ("connectTCP", "connect_tcp", "a mapped literal is IPv4"),
            )
        ],
    ),
    *(Group(name, name, [], guard="guards:accepts_elsewhere") for name in ELSEWHERE),
)


def lines() -> list[str]:
    """The table, as its page has it."""
    found = [
        "| Group | Tested with | Method | Undone by | What for |",
        "| --- | --- | --- | --- | --- |",
    ]
    for group in GROUPS:
        tested = " to ".join(group.tested) if group.tested else ""
        for row in group.rows:
            undone = "deletion" if row.inherited else "assignment"
            found.append(
                f"| {group.name} | {tested} | `{group.module}.{row.place}` | {undone} | {row.why} |"
            )
        if not group.rows:
            what = "looked at alone: it is named when it can't be covered"
            found.append(f"| {group.name} | {tested} | `{group.module}` | | {what} |")
    return found


if __name__ == "__main__":
    print("\n".join(lines()))
