"""Real distributions with broken plugins: what is said, what keeps running, what is refused."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.builds import Distributions
from support.distributions import build_plugin
from support.environments import Environment, clean_environment, create_environment
from support.programs import FAMILIES, curl, serving

SCRIPTS = Path(__file__).parent / "scripts"
SERVED = ["served 127.0.0.1", "served ::1"]
IMPORT = "from dsadapter import hookimpl\n"
SKIPPED = "plugin 'broken' (broken-plugin 1.0) is skipped: "
REMEDY = "keep it out with DSADAPTER_BLOCK_PLUGINS=broken"

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    made = create_environment(tmp_path_factory.mktemp("plugins") / "environment", "uv")
    # Compiled once: what runs there leaves no byte code.
    made.install("--compile-bytecode", distributions.wheel)
    return made


@pytest.fixture
def run(environment: Environment, tmp_path: Path) -> Iterator[Run]:
    """Install distributions, serve, and return the report; the environment is as it was after."""
    installed: list[str] = []

    def install_and_serve(
        *plugins: tuple[str, dict[str, str], dict[str, str]], **env: str
    ) -> dict[str, Any]:
        for name, modules, entry_points in plugins:
            if name not in installed:
                environment.install(build_plugin(tmp_path, name, modules, entry_points))
                installed.append(name)
        variables = clean_environment(**env)
        # Without byte code: the next distribution's module may have the same size and time.
        report: dict[str, Any] = environment.query("-B", SCRIPTS / "serve.py", env=variables)
        return report

    yield install_and_serve
    for name in installed:
        environment.uninstall(name)


def broken(source: str, entry_point: str = "broken_plugin") -> tuple[str, Any, Any]:
    source = textwrap.dedent(source)
    return "broken-plugin", {"broken_plugin.py": source}, {"broken": entry_point}


class Skipped(NamedTuple):
    """A plugin that can't be registered, and what the message about it says."""

    source: str
    message: str
    entry_point: str = "broken_plugin"


SKIPPED_PLUGINS = {
    "import error": Skipped(
        "raise RuntimeError('the disk is full')",
        "can't be imported: RuntimeError: the disk is full",
    ),
    "syntax error": Skipped("def f(:\n", "can't be imported: SyntaxError: invalid syntax"),
    "missing dependency": Skipped(
        "import not_there.at_all",
        "can't be imported: ModuleNotFoundError: No module named 'not_there'; install what "
        "provides 'not_there'",
    ),
    "exit at import": Skipped("import sys; sys.exit('bye')", "can't be imported: SystemExit: bye"),
    "unknown hook": Skipped(
        IMPORT + "@hookimpl\ndef dsadapter_conection_made(connection): pass",
        "there is no hook 'dsadapter_conection_made'; did you mean 'dsadapter_connection_made'?",
    ),
    "wrong signature": Skipped(
        IMPORT + "@hookimpl\ndef dsadapter_before_bind(sock, address): pass",
        "dsadapter_before_bind has no argument 'address'; it has 'sock', 'policy'",
    ),
    "coroutine function": Skipped(
        IMPORT + "@hookimpl\nasync def dsadapter_connection_made(connection): pass",
        "dsadapter_connection_made is 'async'; write a plain function",
    ),
    "wrapper": Skipped(
        "import pluggy\n@pluggy.HookimplMarker('dsadapter')(wrapper=True)\n"
        "def dsadapter_connection_made(connection): yield",
        "dsadapter_connection_made is implemented as a wrapper",
    ),
    "no hook": Skipped(
        "def dsadapter_connection_made(connection): pass",
        "it implements no hook; mark its functions with dsadapter.hookimpl",
    ),
    "a class": Skipped(
        IMPORT + "class Plugin:\n    @hookimpl\n"
        "    def dsadapter_connection_made(self, connection): pass",
        "it is the class Plugin; name an instance, or a module",
        "broken_plugin:Plugin",
    ),
    "entry point to no module": Skipped(
        "", "can't be imported: ModuleNotFoundError: No module named 'nothing'", "nothing"
    ),
    "entry point to no attribute": Skipped(
        "", "can't be imported: AttributeError", "broken_plugin:nothing"
    ),
    "frameworks raise": Skipped(
        IMPORT + "@hookimpl\ndef dsadapter_register_frameworks(): return 1 / 0",
        "it raised ZeroDivisionError: division by zero, in dsadapter_register_frameworks",
    ),
    "frameworks of the wrong type": Skipped(
        IMPORT + "@hookimpl\ndef dsadapter_register_frameworks(): return ['trio']",
        "'trio' does not verify as a framework adapter",
    ),
    "frameworks return a coroutine": Skipped(
        IMPORT + "async def later(): pass\n"
        "@hookimpl\ndef dsadapter_register_frameworks(): return later()",
        "it returned a coroutine, which nobody awaits, in dsadapter_register_frameworks",
    ),
    "a framework of the built-in's name": Skipped(
        IMPORT + "from dsadapter.frameworks.twisted import adapter\n"
        "@hookimpl\ndef dsadapter_register_frameworks(): return adapter",
        "the framework 'twisted' is contributed by 'twisted' already",
    ),
}


@pytest.mark.parametrize("name", SKIPPED_PLUGINS)
def test_a_broken_plugin_is_named_once_and_skipped_unless_required(run: Run, name: str) -> None:
    case = SKIPPED_PLUGINS[name]
    plugin = broken(case.source, case.entry_point)

    report = run(plugin)
    assert report["error"] is None
    assert report["served"] == SERVED
    assert report["plugins"] == []
    [message] = report["messages"]
    assert message.startswith(SKIPPED + case.message)
    assert REMEDY in message
    assert report["failures"] == {"broken": message}

    report = run(plugin, DSADAPTER_REQUIRE_PLUGINS="broken")
    assert report["served"] is None
    assert report["error"].startswith(
        f"PluginError: plugin 'broken' is required and broken ({SKIPPED}{case.message}"
    )


def test_a_blocked_plugin_is_not_imported_and_a_mistyped_name_is_told(run: Run) -> None:
    plugin = broken("print('imported'); 1 / 0")
    report = run(plugin, DSADAPTER_BLOCK_PLUGINS="twistd, broken")
    assert report["served"] == SERVED
    [message] = report["messages"]
    assert message.startswith(
        "no installed plugin is called 'twistd', which DSADAPTER_BLOCK_PLUGINS keeps out; did you "
        "mean 'twisted'? (there are "
    )


OBSERVERS = ["listener_opened", "connection_made", "connection_lost", "listener_closed"]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("raise KeyError('oops')", "raised KeyError: 'oops' in"),
        ("return 42", "returned 42 instead of None in"),
        ("return later()", "returned a coroutine, which nobody awaits, instead of None in"),
    ],
)
def test_observers_that_misbehave_are_named_and_nothing_else_happens(
    run: Run, body: str, what: str
) -> None:
    source = f"{IMPORT}async def later(): pass\n" + "".join(
        f"@hookimpl\ndef dsadapter_{hook}(): {body}\n" for hook in OBSERVERS
    )
    report = run(broken(source))
    assert report["served"] == SERVED
    # Of two connections the first is told of.
    for hook, message in zip(OBSERVERS, report["messages"], strict=True):
        assert message.startswith(
            f"plugin 'broken' {what} dsadapter_{hook}; nothing else was affected"
        )
        assert REMEDY in message


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("raise KeyError('oops')", "raised KeyError: 'oops' in"),
        ("return True", "returned True instead of None in"),
        ("return later()", "returned a coroutine, which nobody awaits, instead of None in"),
        ("sock.close()", "closed the socket in"),
    ],
)
def test_a_check_that_is_broken_refuses(run: Run, body: str, what: str) -> None:
    source = f"{IMPORT}async def later(): pass\n@hookimpl\ndef dsadapter_before_bind(sock): {body}"
    report = run(broken(source))
    assert report["served"] is None
    assert report["error"].startswith(
        f"CannotListenError: Couldn't listen on :::0: plugin 'broken' is broken: it {what} "
        f"dsadapter_before_bind"
    )
    assert REMEDY in report["error"]


def test_an_observer_of_refusals_that_raises_changes_nothing(run: Run) -> None:
    source = """
        from dsadapter import hookimpl
        @hookimpl
        def dsadapter_before_bind(): raise PermissionError("no")
        @hookimpl
        def dsadapter_operation_refused(refusal): 1 / 0
    """
    report = run(broken(source))
    assert report["error"].endswith("plugin 'broken' refused: no.")
    [message] = report["messages"]
    assert "ZeroDivisionError" in message
    assert "in dsadapter_operation_refused" in message


def test_a_plugin_that_blocks_itself_while_it_runs(run: Run) -> None:
    source = """
        import logging
        from dsadapter import hookimpl
        from dsadapter.plugin import get_plugin_manager
        @hookimpl
        def dsadapter_connection_made(connection):
            logging.error("once")
            get_plugin_manager().block("broken")
    """
    report = run(broken(source))
    assert report["served"] == SERVED
    assert report["messages"] == ["once"]
    assert report["plugins"] == []


def test_a_plugin_that_registers_another_when_it_is_imported(run: Run) -> None:
    source = """
        import logging
        from dsadapter import hookimpl
        from dsadapter.plugin import get_plugin_manager
        class Second:
            @hookimpl
            def dsadapter_listener_opened(self): logging.error("second")
        get_plugin_manager().register(Second())
        @hookimpl
        def dsadapter_listener_opened(): logging.error("first")
    """
    report = run(broken(source))
    assert report["served"] == SERVED
    assert report["plugins"] == ["Second", "broken"]
    assert report["messages"] == ["first", "second"]


def test_installed_plugins_are_loaded_once_and_not_before_they_are_needed(
    run: Run, environment: Environment
) -> None:
    source = """
        import logging
        from dsadapter import hookimpl
        logging.error("imported")
        @hookimpl
        def dsadapter_listener_opened(): pass
    """
    report = run(broken(source))
    assert report["served"] == SERVED
    assert report["messages"] == ["imported"]
    imports = "import dsadapter.frameworks.twisted, twisted.plugins.dsadapter_endpoints"
    assert environment.run("-B", "-c", imports) == ""


def test_an_operator_reads_the_message_once_in_the_log_of_twist(
    run: Run, environment: Environment
) -> None:
    plugin = broken("raise RuntimeError('the disk is full')")
    run(plugin)
    twist = environment.program("twist")
    with serving(lambda port: [twist, "web", "--listen", f"dualstack:{port}"]) as (server, port):
        for family in FAMILIES:
            assert curl(family, port).startswith("HTTP/1.1 200")
        log = server.stop()
    assert log.count(SKIPPED + "can't be imported: RuntimeError: the disk is full") == 1
    assert log.count(REMEDY) == 1


def saying(name: str, text: str) -> tuple[str, Any, Any]:
    module = name.replace("-", "_")
    source = (
        f"import logging\n{IMPORT}"
        f"@hookimpl\ndef dsadapter_listener_opened(): logging.error({text!r})\n"
    )
    return name, {f"{module}.py": source}, {"same": module}


def test_two_distributions_with_one_plugin_name(run: Run) -> None:
    report = run(saying("first-of-two", "called"), saying("second-of-two", "called"))
    assert report["served"] == SERVED
    refused, called = report["messages"]
    assert called == "called"
    for distribution in ("first-of-two 1.0", "second-of-two 1.0"):
        assert distribution in refused
    assert "plugin 'same'" in refused
    assert "has the name of another one" in refused
    assert "Rename its entry point, or uninstall one of the two" in refused


def test_a_plugin_with_the_name_of_a_built_in_one_is_refused(run: Run) -> None:
    source = IMPORT + "@hookimpl\ndef dsadapter_listener_opened(): raise ValueError"
    report = run(("impostor", {"impostor.py": source}, {"twisted": "impostor"}))
    assert report["served"] == SERVED
    [message] = report["messages"]
    assert message.startswith(
        "plugin 'twisted' (impostor 1.0) has the name of another one (built in)"
    )


def test_a_broken_plugin_does_not_stop_the_next_one(run: Run) -> None:
    report = run(broken("1 / 0"), saying("later-plugin", "called"))
    assert report["served"] == SERVED
    assert report["messages"][1:] == ["called"]
    assert report["plugins"] == ["same"]


def test_blocking_the_built_in_plugin_fails_with_its_name(run: Run) -> None:
    report = run(DSADAPTER_BLOCK_PLUGINS="twisted")
    assert report["served"] is None
    assert report["error"].startswith(
        "UnknownFrameworkError: no plugin contributes the framework 'twisted'; there are: "
    )
    assert report["error"].endswith("; blocked plugins: twisted")


def test_requiring_what_is_not_installed_opens_nothing(run: Run) -> None:
    report = run(DSADAPTER_REQUIRE_PLUGINS="guard")
    assert report["served"] is None
    assert report["error"].startswith(
        "PluginError: plugin 'guard' is required and not registered (there are "
    )
    assert "'twisted'), so nothing opens; fix that, or take it out of" in report["error"]
