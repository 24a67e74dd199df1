"""What ``dsadapter run`` tells the processes that it covers, and how: in environment variables.

Imported by covered processes, so it imports nothing that Python has not loaded already.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

STAMP = "DSADAPTER_RUN"
"""Which Python is covered: its version and its prefix."""

OPTIONS = "DSADAPTER_RUN_OPTIONS"
"""The options of the command, as words."""

EXPLAIN = "DSADAPTER_RUN_EXPLAIN"
"""The file that ``--explain=FILE`` names, absolute."""

GUARD_REPORT = "DSADAPTER_RUN_GUARD_REPORT"
"""The file that ``--guard-report=FILE`` names, absolute."""

FOLDER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "hook")
"""The folder that goes first in PYTHONPATH; it holds ``sitecustomize.py`` alone."""


class Settings:
    """The options of the command.

    :param only: the ports whose listeners are widened; None for every one.
    :param excepted: ports whose listeners stay as the program makes them.
    :param widen: whether a listener on 0.0.0.0 is widened, too.
    :param merge_pairs: whether a pair with one accept loop behind it becomes one socket.
    :param explain: whether listeners are listed when a process ends.
    :param file: where they are listed at every change; None for nowhere.
    :param guard: whether mapped addresses are counted, and listed when a process ends.
    :param guard_report: where those are listed as they come, as well; None for nowhere.
    :param reuse_port: whether listeners share their port with those of other processes.
    """

    __slots__ = (
        "excepted",
        "explain",
        "file",
        "guard",
        "guard_report",
        "merge_pairs",
        "only",
        "reuse_port",
        "widen",
    )

    def __init__(
        self,
        *,
        only: Iterable[int] | None = None,
        excepted: Iterable[int] = (),
        widen: bool = False,
        merge_pairs: bool = False,
        explain: bool = False,
        file: str | None = None,
        guard: bool = False,
        guard_report: str | None = None,
        reuse_port: bool = False,
    ) -> None:
        self.only = None if only is None else frozenset(only)
        self.excepted = frozenset(excepted)
        self.widen = widen
        self.merge_pairs = merge_pairs
        self.explain = explain
        self.file = file
        self.guard = guard
        self.guard_report = guard_report
        self.reuse_port = reuse_port

    @property
    def explains(self) -> bool:
        """Whether sockets are listed, anywhere."""
        return self.explain or self.file is not None

    @property
    def guards(self) -> bool:
        """Whether mapped addresses are counted."""
        return self.guard or self.guard_report is not None

    def lacking(self) -> str | None:
        """An option that was asked for and that this platform can't do: Windows' sockets have no
        ``dup2`` and no ``SO_REUSEPORT``; None for none."""
        if os.name == "nt":
            for name in ("merge_pairs", "reuse_port"):
                if getattr(self, name):
                    return f"--{name.replace('_', '-')}"
        return None

    def spares(self, port: int) -> str | None:
        """The option that has the listener on a port left alone; None for one that is widened."""
        if port in self.excepted:
            return f"--except={port}"
        if self.only is not None and port not in self.only:
            return f"--only={_joined(self.only)}"
        return None

    def typed(self) -> list[str]:
        """As a user types them."""
        typed = [] if self.only is None else [f"--only={_joined(self.only)}"]
        if self.excepted:
            typed.append(f"--except={_joined(self.excepted)}")
        typed += ["--widen"] * self.widen + ["--merge-pairs"] * self.merge_pairs
        typed += ["--reuse-port"] * self.reuse_port
        if self.file is not None:
            typed.append(f"--explain={self.file}")
        typed += ["--explain"] * self.explain + ["--guard=log"] * self.guard
        if self.guard_report is not None:
            typed.append(f"--guard-report={self.guard_report}")
        return typed

    def words(self) -> str:
        """As the environment carries them."""
        names = ("widen", "merge_pairs", "explain", "guard", "reuse_port")
        words = [name for name in names if getattr(self, name)]
        if self.only is not None:
            words.append(f"only={_joined(self.only)}")
        if self.excepted:
            words.append(f"except={_joined(self.excepted)}")
        return " ".join(words)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Those that :meth:`export` has written."""
        words = environment.get(OPTIONS, "").split()
        pairs = dict(word.split("=", 1) for word in words if "=" in word)
        return cls(
            only=_ports(pairs["only"]) if "only" in pairs else None,
            excepted=_ports(pairs.get("except", "")),
            widen="widen" in words,
            merge_pairs="merge_pairs" in words,
            explain="explain" in words,
            file=environment.get(EXPLAIN) or None,
            guard="guard" in words,
            guard_report=environment.get(GUARD_REPORT) or None,
            reuse_port="reuse_port" in words,
        )

    def export(self, environment: MutableMapping[str, str], *, watched: bool = False) -> None:
        """Have every Python process that is started with an environment covered.

        :param watched: whether this process is to say so if it becomes a Python of another prefix.
        """
        # An empty folder among others is the current one.
        given = environment.get("PYTHONPATH")
        folders = given.split(os.pathsep) if given else []
        others = [folder for folder in folders if folder != FOLDER]
        environment["PYTHONPATH"] = os.pathsep.join([FOLDER, *others])
        environment[STAMP] = stamp()
        environment[OPTIONS] = self.words()
        if watched:
            environment[OPTIONS] += f" process={os.getpid()}"
        for variable, file in ((EXPLAIN, self.file), (GUARD_REPORT, self.guard_report)):
            environment.pop(variable, None)
            if file is not None:
                environment[variable] = file


def stamp() -> str:
    """What the hook compares: a process of another Python, or of another environment, is none of
    its business."""
    major, minor = sys.version_info[:2]
    return f"{major}.{minor} {os.path.normcase(os.path.realpath(sys.prefix))}"


def _joined(ports: Iterable[int]) -> str:
    return ",".join(map(str, sorted(ports)))


def _ports(text: str) -> list[int]:
    # What somebody else has written there opens no port.
    return [int(part) for part in text.split(",") if part.isdecimal()]
