"""What importing costs, in fresh processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.rounds import BEYOND, Samples, interleave
from benchmarks.table import Table, Target

_START = "python -c pass"
_PACKAGE = "import dsadapter"
_ADDRESSING = "import dsadapter.addressing"
_DROP_IN = "the Twisted drop-in"
_NOTHING = "importing what is there already"
_FOREIGN = ("twisted", "pluggy", "zope")
_NONE = Target(0)

# What twisted.plugin.getPlugins has loaded before it comes to any drop-in. Not the drop-in cache:
# reading a stale one imports every drop-in.
_MACHINERY = "import twisted.plugin, twisted.plugins, twisted.internet.interfaces"
_TIMED = """
import sys, time
{machinery}
before = set(sys.modules)
start = time.process_time()
import {module}
elapsed = time.process_time() - start
loaded = set(sys.modules) - before
print(elapsed * 1e3, sum(name.split(".")[0] != "dsadapter" for name in loaded - {{"{module}"}}))
"""
_ENDPOINT = "dualstack:"
_TCP = "tcp:"
_CLASS = "DualStackServerEndpoint, imported"
_PARSED = """
import time
from twisted.internet import endpoints, protocol, reactor
factory = protocol.Factory()
endpoints.serverFromString(reactor, "haproxy:tcp:0").listen(factory)
"""
_USED = (
    _PARSED
    + """
start = time.process_time()
endpoints.serverFromString(reactor, "{string}").listen(factory)
print((time.process_time() - start) * 1e3)
"""
)
_USED_CLASS = (
    _PARSED
    + """
from dsadapter.frameworks.twisted import DualStackServerEndpoint
start = time.process_time()
DualStackServerEndpoint(reactor, 0).listen(factory)
print((time.process_time() - start) * 1e3)
"""
)
# What a user of the framework has imported already, and the first name that he would import.
_FRAMEWORKS = {
    "anyio": ("anyio", "create_tcp_listener"),
    "asyncio": ("asyncio", "create_server"),
    "blocking": ("socketserver", "create_server"),
    "trio": ("trio", "open_tcp_listeners"),
    "twisted": ("twisted.internet.reactor", "DualStackServerEndpoint"),
}
_ADAPTER = """
import {framework}{beside}
import time
start = time.process_time()
{statement}
print((time.process_time() - start) * 1e3)
"""
_LOADED = """
{statement}
import sys
print(sum(name.split(".")[0] in {foreign} for name in sys.modules))
"""


def tables(rounds: int | None) -> Iterator[Table]:
    rounds = rounds or 21
    yield _starts(rounds)
    yield _drop_in(rounds)
    yield _first(rounds)
    yield _adapters(rounds)


def _starts(rounds: int) -> Table:
    samples = Samples()
    statements = {_START: "pass", _PACKAGE: _PACKAGE, _ADDRESSING: _ADDRESSING}
    interleave({name: _process_time(code) for name, code in statements.items()}, rounds, samples)
    table = Table(
        "Importing the package",
        "CPU time of a fresh interpreter that runs one statement and exits, and how many modules "
        "of Twisted, pluggy and zope.interface it has loaded by then.",
        samples,
        "ms",
    )
    table.compare(_PACKAGE, _START, BEYOND, Target(10))
    table.count(f"{_PACKAGE}: foreign modules", _foreign(_PACKAGE), _NONE)
    table.compare(_ADDRESSING, _START, BEYOND)
    table.count(f"{_ADDRESSING}: foreign modules", _foreign(_ADDRESSING), _NONE)
    return table


def _drop_in(rounds: int) -> Table:
    samples = Samples()
    module = "twisted.plugins.dsadapter_endpoints"
    others = int(_timed_import(module)[1])
    subjects = {
        _DROP_IN: lambda: _timed_import(module)[0],
        _NOTHING: lambda: _timed_import("twisted.plugin")[0],
    }
    interleave(subjects, rounds, samples)
    table = Table(
        "Importing the Twisted drop-in",
        "CPU time of one import statement in a fresh interpreter that has already imported "
        "twisted.plugin, twisted.plugins and twisted.internet.interfaces, and how many modules "
        "that are not this package's it loads.",
        samples,
        "ms",
    )
    table.compare(_DROP_IN, _NOTHING, BEYOND, Target(5))
    table.count(f"{_DROP_IN}: foreign modules", others)
    return table


def _first(rounds: int) -> Table:
    samples = Samples()
    subjects = {
        _ENDPOINT: lambda: float(_run(_USED.format(string="dualstack:0"))),
        _CLASS: lambda: float(_run(_USED_CLASS)),
        _TCP: lambda: float(_run(_USED.format(string="tcp:0"))),
    }
    interleave(subjects, rounds, samples)
    table = Table(
        "The first endpoint",
        "CPU time of a fresh interpreter to parse an endpoint string and listen, when Twisted has "
        "loaded its reactor and the parsers of all plugins; of that what is left when the class "
        "has been imported, to make an endpoint, find the plugins of this environment, and listen.",
        samples,
        "ms",
    )
    for name in (_ENDPOINT, _CLASS):
        table.compare(name, _TCP, BEYOND)
    return table


def _adapters(rounds: int) -> Table:
    subjects: dict[str, Callable[[], float]] = {_NOTHING: partial(_adapter, "time", "", "pass")}
    targets: dict[str, Target | None] = {}
    for name, (framework, first) in _FRAMEWORKS.items():
        package = f"dsadapter.frameworks.{name}"
        for text, beside, statement, target in (
            (f"import {package}", "", f"import {package}", Target(10)),
            (f"{name}'s adapter", ", pluggy", f"import {package}.adapter", Target(10)),
            (f"{name}'s {first}", "", f"from {package} import {first}", None),
        ):
            subjects[text] = partial(_adapter, framework, beside, statement)
            targets[text] = target
    samples = Samples()
    interleave(subjects, rounds, samples)
    table = Table(
        "Importing the adapters",
        "CPU time of one import statement in a fresh interpreter that has already imported the "
        "framework: of the package; of the module that the plugin manager imports, zope.interface "
        "included, where pluggy is there already; and of the first name, with all that an endpoint "
        "needs, pluggy included.",
        samples,
        "ms",
    )
    for text, target in targets.items():
        table.compare(text, _NOTHING, BEYOND, target)
    return table


def _adapter(framework: str, beside: str, statement: str) -> float:
    return float(_run(_ADAPTER.format(framework=framework, beside=beside, statement=statement)))


def _process_time(code: str) -> Callable[[], float]:
    def sample() -> float:
        start = _children()
        _run(code)
        return (_children() - start) * 1e3

    return sample


def _children() -> float:
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _timed_import(module: str) -> tuple[float, float]:
    elapsed, others = _run(_TIMED.format(machinery=_MACHINERY, module=module)).split()
    return float(elapsed), float(others)


def _foreign(statement: str) -> int:
    return int(_run(_LOADED.format(statement=statement, foreign=_FOREIGN)))


def _run(code: str) -> str:
    # Isolated: what is installed is measured, not what lies in the current directory.
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
