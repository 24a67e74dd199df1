"""What is public: the page that lists it, and what a reader with nothing but Python is shown."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.windows import reads_sources

import dsadapter
from dsadapter.frameworks import twisted as doors
from dsadapter.frameworks.twisted.web import ConnectOptions

ROOT = Path(dsadapter.__file__).parent
PRIVATE_ROOMS = ("dsadapter.cli", "dsadapter.migration.")
PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def listed() -> dict[str, list[str]]:
    """The names on the page, by module."""
    found: dict[str, list[str]] = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        found[title.strip("`")] = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    return found


def declared() -> dict[str, list[str]]:
    """The names in ``__all__`` of every module that has one and is not private."""
    found: dict[str, list[str]] = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if "._" in module or module.startswith(PRIVATE_ROOMS):
            continue
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                    found[module] = ast.literal_eval(value)
    return found


def test_the_page_lists_what_the_modules_declare() -> None:
    assert {module: sorted(names) for module, names in declared().items()} == {
        module: sorted(names) for module, names in listed().items()
    }


@pytest.mark.parametrize("module", listed())
def test_every_public_name_is_there_and_says_what_it_is(module: str) -> None:
    found = importlib.import_module(module)
    source = inspect.getsource(found)
    for name in listed()[module]:
        value = getattr(found, name)
        if isinstance(value, type) or inspect.isroutine(value):
            assert inspect.getdoc(value), name
        elif module != "dsadapter":
            # An alias of a type: a text stands under it, here or where it comes from.
            assert name in source


@reads_sources
def test_pydoc_shows_the_public_classes_of_a_framework() -> None:
    command = [sys.executable, "-m", "pydoc", doors.__name__]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for name in listed()[doors.__name__]:
        assert re.search(rf"^    class {name}\(", shown, re.MULTILINE), name


def test_dir_shows_them_and_imports_nothing() -> None:
    code = (
        f"import sys, {doors.__name__} as doors; print(*dir(doors)); "
        f"assert 'twisted.internet' not in sys.modules"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert set(listed()[doors.__name__]) <= set(shown)
    assert len(shown) == len(set(shown))


def test_a_name_that_is_not_there_is_told_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match=r"module '.*twisted' has no attribute 'Nothing'"):
        doors.Nothing  # noqa: B018


def test_an_agent_takes_the_options_of_the_client_endpoint() -> None:
    # As they are written: the oldest zope.interface has no unions of interfaces.
    parameters = inspect.signature(doors.DualStackClientEndpoint.__init__).parameters.values()
    wanted = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    accepted = ConnectOptions.__annotations__
    assert {name: hint.__forward_arg__ for name, hint in accepted.items()} == wanted
    signature = inspect.signature(doors.DualStackAgentEndpointFactory.__init__)
    assert signature.parameters["options"].annotation == "Unpack[ConnectOptions]"
