"""Plugins: which load, which are broken, kept out or missing, and the checks that they bring.

A plugin that hangs or crashes when it is imported would take the list of all with it. So all are
loaded as a server does; where that doesn't end well, each by itself, and the rest again.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from dsadapter.command_lines import assignment, command_line, pip
from dsadapter.doctor.examining import checks_of, examined, failed_row, found
from dsadapter.doctor.findings import Check, Finding, Mark, Question, Row
from dsadapter.doctor.isolation import Say, isolated
from dsadapter.hooks.manager import (
    BUILT_IN,
    PluginManager,
    get_plugin_manager,
    installed_plugins,
    logger,
    names_in,
)
from dsadapter.hooks.wording import BLOCK_VARIABLE, REQUIRE_VARIABLE
from dsadapter.messages import did_you_mean, printable

ID, _TITLE = "plugin", "plugin"
_HOOK = "dsadapter_register_checks"
_TO_LOAD = 10.0
_FOR_ITS_CHECKS = 120.0
_MOST_PLUGINS = 100


class _Loaded(NamedTuple):
    """What came of loading plugins."""

    sources: dict[str, str]
    failures: dict[str, str]
    complaints: list[tuple[str, str]]
    installed: list[str]
    checking: list[str]
    failure: str


def plugin_rows(question: Question) -> Iterator[Row]:
    """A row for each plugin that is installed or named, then those of their checks."""
    loaded = _loaded(())
    stuck: dict[str, str] = {}
    if loaded.failure:
        names = sorted({*_names()} - {*names_in(BLOCK_VARIABLE)})
        for name in names[:_MOST_PLUGINS]:
            alone = _loaded({*names} - {name} - BUILT_IN.keys())
            if alone.failure:
                stuck[name] = alone.failure
        loaded = _loaded(stuck)
        if loaded.failure:
            yield failed_row(ID, _TITLE, loaded.failure)
    for finding in found([*_findings(loaded, stuck)]):
        yield Row(ID, _TITLE, finding)
    for name in loaded.checking:
        yield from _checked(name, question)


def _loaded(block: Collection[str]) -> _Loaded:
    """Load all plugins but some, as a server does."""
    said = isolated(lambda say: _load(block, say), _TO_LOAD)
    message = said.messages[0] if said.messages else {}
    return _Loaded(
        message.get("sources", {}),
        message.get("failures", {}),
        message.get("complaints", []),
        message.get("installed", []),
        message.get("checking", []),
        said.failure,
    )


def _load(block: Collection[str], say: Say) -> None:
    complaints = _Complaints()
    logger.addHandler(complaints)
    manager = get_plugin_manager(block=block) if block else get_plugin_manager()
    failures = dict(manager.failures)
    say(
        {
            "sources": dict(manager.sources),
            "failures": failures,
            "complaints": [c for c in complaints.texts if c[0] not in failures.values()],
            "installed": [point.name for point in installed_plugins()],
            "checking": manager.implementers(_HOOK),
        }
    )


def _names() -> list[str]:
    said = isolated(lambda say: say([point.name for point in installed_plugins()]), _TO_LOAD)
    return said.messages[0] if said.messages else []


class _Complaints(logging.Handler):
    """What is logged of what no plugin is to blame for, and what to type about it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        place = str(getattr(record, "place", ""))
        remedy = command_line("empty", folder=place) if os.path.exists(place) else ""
        self.texts.append((record.getMessage(), remedy))


def _findings(loaded: _Loaded, stuck: Mapping[str, str]) -> Iterator[Finding]:
    blocked, required = names_in(BLOCK_VARIABLE), names_in(REQUIRE_VARIABLE)
    broken = {name: f"when it is loaded, {failure}" for name, failure in stuck.items()}
    broken |= loaded.failures
    for name, source in sorted(loaded.sources.items()):
        if source != "built in":
            yield Finding("ok", source, "", _shown(name))
    for name, text in sorted(broken.items()):
        mark: Mark = "problem" if name in required else "advice"
        fact = f"broken, and so left out: {text}"
        if mark == "problem":
            fact = f"required and broken, so nothing opens: {text}"
        yield Finding(mark, fact, _keeping_out(name, blocked), _shown(name))
    for text, remedy in loaded.complaints:
        yield Finding("advice", text, remedy)
    known = {*loaded.sources, *broken, *loaded.installed, *BUILT_IN}
    for name in dict.fromkeys(blocked):
        yield _kept_out(name, known, blocked)
    for name in dict.fromkeys(required):
        if name not in loaded.sources and name not in broken:
            why = "kept out" if name in blocked else f"not installed{did_you_mean(name, known)}"
            fact = f"required and {why}, so nothing opens"
            remedy = _without(REQUIRE_VARIABLE, name, required)
            yield Finding("problem", fact, remedy, _shown(name))


def _kept_out(name: str, known: Collection[str], blocked: Iterable[str]) -> Finding:
    remedy = _without(BLOCK_VARIABLE, name, blocked)
    if name in BUILT_IN:
        strings = "'dualstack:' strings and " if name == "twisted" else ""
        fact = f"kept out by {BLOCK_VARIABLE}: {strings}get_framework({name!r}) fail"
        return Finding("problem" if strings else "advice", fact, remedy, _shown(name))
    if name in known:
        return Finding("ok", f"kept out by {BLOCK_VARIABLE}", remedy, _shown(name))
    fact = f"{BLOCK_VARIABLE} keeps out what is not installed{did_you_mean(name, known)}"
    return Finding("advice", fact, remedy, _shown(name))


def _keeping_out(name: str, blocked: Iterable[str]) -> str:
    if "," in name or name != name.strip():
        # The variable can't name it.
        return pip(sys.executable, "list")
    return assignment(BLOCK_VARIABLE, ",".join([*blocked, name]))


def _without(variable: str, name: str, names: Iterable[str]) -> str:
    rest = ",".join(each for each in names if each != name)
    return assignment(variable, rest)


def _shown(name: str) -> str:
    return printable(name, 40)


def _checked(name: str, question: Question) -> Iterator[Row]:
    """The rows of one plugin's checks, each of which runs in a process below that of the
    plugin."""
    plugin = _shown(name)

    def checks() -> list[Check]:
        others = {point.name for point in installed_plugins()} - {name} - BUILT_IN.keys()
        manager: PluginManager = get_plugin_manager(block=others)
        return checks_of(dict(manager.contributions(_HOOK)).get(name))

    def work(say: Say) -> None:
        for row in examined(checks(), question):
            say(_sent(row))

    # What they may take in all is known when the plugin has named them.
    said = isolated(lambda say: say(sum(check.limit for check in checks())), _TO_LOAD)
    if not said.failure:
        said = isolated(work, _TO_LOAD + min(said.messages[0], _FOR_ITS_CHECKS))
        for message in said.messages:
            yield _received(message, plugin)
    if said.failure:
        yield failed_row("checks", "checks", said.failure, plugin)


def _sent(row: Row) -> Any:
    finding = row.finding
    texts = [finding.fact, finding.remedy, finding.subject, finding.detail]
    return [row.id, row.title, row.failed, finding.mark, *texts]


def _received(message: Any, plugin: str) -> Row:
    which, title, failed, mark, *texts = message
    return Row(which, title, Finding(mark, *texts), failed, plugin)
