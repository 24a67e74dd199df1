"""Every exception of the package survives what processes and tools do to exceptions."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
import typing
from collections.abc import Callable
from typing import Any

import pytest
from support.windows import WINDOWS

import dsadapter
from dsadapter.records import Leak

NOT_ON_WINDOWS = {"fcntl", "libcst"}
"""What cutovers and rewriting take, and tests on Windows have not."""
SAMPLES: dict[Any, Any] = {
    str: "said",
    int: 5,
    OSError: OSError(97, "Address family not supported"),
    tuple: ("192.0.2.1", 80),
    Any: "any",
    object: "any",
    Leak: Leak("::ffff:192.0.2.1", "connect", "an IPv4-only socket", "relay.py", 31, "forward"),
}


def exceptions() -> list[type[Exception]]:
    """The exception classes of every module."""
    found: set[type[Exception]] = set()
    for module in pkgutil.walk_packages(dsadapter.__path__, "dsadapter."):
        if module.name.endswith(("__main__", "_darwin", "_bsd", "pytest_plugin")):
            continue
        # Twisted's IOCP needs pywin32.
        if not WINDOWS and "completing" in module.name:
            continue
        try:
            members = inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        except ModuleNotFoundError as missing:
            if WINDOWS and missing.name in NOT_ON_WINDOWS:
                continue
            raise
        found |= {
            kind
            for _, kind in members
            if issubclass(kind, Exception) and kind.__module__.startswith("dsadapter")
        }
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


def made(kind: type[Exception]) -> Exception:
    """One with a value for each parameter of the constructor."""
    if not inspect.isfunction(kind.__init__):
        return kind(5, "said") if issubclass(kind, OSError) else kind("said")
    hints = typing.get_type_hints(kind.__init__)
    values = []
    for name in list(inspect.signature(kind).parameters):
        hint = hints.get(name, Any)
        hint = next((each for each in typing.get_args(hint) if each in SAMPLES), hint)
        values.append(SAMPLES[typing.get_origin(hint) or hint])
    return kind(*values)


WAYS: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.mark.parametrize("kind", exceptions(), ids=lambda kind: kind.__qualname__)
def test_an_exception_survives_copy_and_pickle(kind: type[Exception]) -> None:
    error = made(kind)
    error.add_note("noted")
    for way in WAYS:
        other = way(error)
        assert type(other) is kind
        assert str(other) == str(error)
        assert repr(other.args) == repr(error.args)
        assert repr(vars(other)) == repr(vars(error))
        if isinstance(error, OSError):
            assert (other.errno, other.strerror) == (error.errno, error.strerror)
        # And once more.
        assert str(copy.copy(other)) == str(error)


def test_there_are_some() -> None:
    names = {kind.__name__ for kind in exceptions()}
    assert {"BindAddressError", "ConnectingError", "OptionError", "RefusedError"} <= names
