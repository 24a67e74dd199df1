"""What is installed of dsadapter, of what it needs, and of the frameworks that it knows."""

from __future__ import annotations

import importlib
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from itertools import zip_longest
from typing import NamedTuple

from dsadapter import __version__
from dsadapter.command_lines import pip
from dsadapter.doctor.findings import Check, Finding, Question
from dsadapter.hooks.manager import BUILT_IN, PluginManager, installed_plugins
from dsadapter.messages import said_of

_PROJECT = "dsadapter"
_NEEDED = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=\s*([0-9.]+))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_STANDARD = {"asyncio", "blocking"}


class Needed(NamedTuple):
    """One requirement of the distribution."""

    name: str
    least: str
    extra: str


def needed() -> list[Needed]:
    """What the distribution requires, by itself and with its extras."""
    found = []
    for text in requires(_PROJECT) or ():
        what, _, condition = text.partition(";")
        match = _NEEDED.match(what.strip())
        extra = _EXTRA.search(condition)
        if match is not None:
            name, least = match.groups()
            found.append(Needed(name.lower(), least or "", extra[1] if extra else ""))
    return found


def _interpreter(question: Question) -> list[Finding]:
    name, python = platform.python_implementation(), platform.python_version()
    findings = [Finding("ok", f"{name} {python}, {sys.executable}", detail=platform.platform())]
    try:
        those = [each for each in needed() if not each.extra]
    except PackageNotFoundError:
        return [*findings, Finding("advice", f"{_PROJECT} {__version__} runs, not installed")]
    lacking = [each for each in those if _version(each.name) is None or _is_old(each)]
    told = ", ".join(f"{each.name} {_version(each.name) or 'is missing'}" for each in those)
    if not lacking:
        return [*findings, Finding("ok", f"{__version__}, with {told}", "", _PROJECT)]
    wanted = [f"{each.name}>={each.least}" for each in lacking]
    return [*findings, Finding("problem", f"{__version__}, with {told}", _pip(*wanted), _PROJECT)]


def _frameworks(question: Question) -> list[Finding]:
    """The built-in ones; what plugins bring is told with them."""
    others = {point.name for point in installed_plugins()} - BUILT_IN.keys()
    manager = PluginManager(block=others)
    manager.load()
    least = {each.name: each for each in needed()}
    findings = []
    for name, adapter in sorted(manager.frameworks.items()):
        if name in _STANDARD:
            findings.append(_imported(name, f"Python {platform.python_version()}", ""))
        elif not adapter.is_available():
            fix = _pip(adapter.requirement)
            findings.append(Finding("ok", "not installed", fix, name))
        elif name in least and _is_old(least[name]):
            fact = f"{_version(name)} is older than {least[name].least}"
            findings.append(Finding("advice", fact, _pip(adapter.requirement), name))
        else:
            findings.append(_imported(name, str(_version(name)), name))
    return findings


def _imported(name: str, told: str, distribution: str) -> Finding:
    try:
        doors = importlib.import_module(f"dsadapter.frameworks.{name}")
        for door in doors.__all__:
            getattr(doors, door)
    except Exception as error:
        again = _pip("--force-reinstall", distribution or _PROJECT)
        return Finding("advice", f"{told} can't be imported: {said_of(error)}", again, name)
    return Finding("ok", told, subject=name)


def _extras(question: Question) -> list[Finding]:
    try:
        extras = metadata(_PROJECT).get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return []
    return [
        _extra(extra, [each for each in needed() if each.extra == extra])
        for extra in sorted(extras)
        if extra not in BUILT_IN
    ]


def _extra(extra: str, those: list[Needed]) -> Finding:
    remedy = _pip(f"{_PROJECT}[{extra}]")
    missing = [each.name for each in those if _version(each.name) is None]
    if missing:
        return Finding("ok", f"not installed: {', '.join(missing)}", remedy, f"[{extra}]")
    told = ", ".join(f"{each.name} {_version(each.name)}" for each in those)
    old = [each for each in those if _is_old(each)]
    if old:
        fact = f"{told}; {old[0].name} {old[0].least} is the oldest that will do"
        return Finding("advice", fact, remedy, f"[{extra}]")
    return Finding("ok", told, "", f"[{extra}]")


def _pip(*what: str) -> str:
    return pip(sys.executable, "install", *what)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _is_old(what: Needed) -> bool:
    here = _version(what.name)
    return here is not None and bool(what.least) and is_older(here, what.least)


def is_older(one: str, than: str) -> bool:
    """Whether a version comes before another one, by the numbers that they begin with."""
    for ours, theirs in zip_longest(_numbers(one), _numbers(than), fillvalue=0):
        if ours != theirs:
            return ours < theirs
    return False


def _numbers(text: str) -> Iterator[int]:
    for part in text.split("."):
        digits = re.match(r"\d+", part)
        if digits is None:
            return
        yield int(digits[0])


CHECKS = (
    Check("python", "Python", _interpreter),
    Check("framework", "framework", _frameworks, 30.0),
    Check("extra", "extra", _extras),
)
