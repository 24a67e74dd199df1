"""The plugin manager and the compiled hooks, without sockets and without installed plugins."""

from __future__ import annotations

import gc
import logging
import socket
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dsadapter import hookimpl
from dsadapter.errors import PluginError, UnknownFrameworkError
from dsadapter.frameworks import get_framework
from dsadapter.hooks import specifications
from dsadapter.interfaces import IFrameworkAdapter, IServerEndpointFactory
from dsadapter.plugin import PluginManager, get_plugin_manager
from dsadapter.records import Connection
from dsadapter.testing import RecordingPlugin, registered

RECORD: Any = object()


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> PluginManager:
    for variable in ("DSADAPTER_BLOCK_PLUGINS", "DSADAPTER_REQUIRE_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
    return PluginManager()


def plugin(**hooks: Callable[..., Any]) -> Any:
    """An object with one implementation a keyword, called with what it names."""
    marked = {f"dsadapter_{name}": staticmethod(hookimpl(f)) for name, f in hooks.items()}
    return type("Plugin", (), marked)()


HOOKS = [name for name in vars(specifications) if name.startswith("dsadapter_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_reaches_who_implements_it(manager: PluginManager, hook: str) -> None:
    told: list[str] = []
    short = hook.removeprefix("dsadapter_")
    manager.register(plugin(**{short: lambda: told.append(short)}))
    if short.startswith("before_"):
        with socket.socket() as sock:
            getattr(manager.hooks, short)(sock, RECORD)
    elif short in ("register_rules", "register_checks"):
        # Asked for by who needs it, not when the plugin registers.
        assert told == []
        assert [name for name, _ in manager.contributions(hook)] == list(manager.plugins)
    elif not short.startswith("register_"):
        getattr(manager.hooks, short)(RECORD)
    assert told == [short]


def test_the_recording_plugin_implements_every_hook_that_is_called_later() -> None:
    implemented = {name for name in dir(RecordingPlugin) if name.startswith("dsadapter_")}
    assert implemented == {hook for hook in HOOKS if not hook.startswith("dsadapter_register_")}


def test_every_hook_says_when_it_is_called_what_an_exception_does_and_what_it_costs() -> None:
    for name, function in vars(specifications).items():
        if name.startswith("dsadapter_"):
            text = (function.__doc__ or "").lower()
            for topic in ("**called**", "**an exception**", "**costs**"):
                assert topic in text, (name, topic)


def test_nobody_registered_leaves_every_hook_None(manager: PluginManager) -> None:
    hooks = manager.hooks
    assert hooks.before_bind is None
    assert hooks.listener_opened is hooks.listener_closed is None
    assert hooks.connections is None
    assert hooks.operation_refused is None


@pytest.mark.parametrize("count", [1, 2, 5])
def test_observers_are_called_last_registered_first(manager: PluginManager, count: int) -> None:
    called: list[int] = []
    for number in range(count):
        manager.register(
            plugin(listener_opened=lambda listener, n=number: called.append(n)), f"{number}"
        )
    assert manager.hooks.listener_opened is not None
    manager.hooks.listener_opened(RECORD)
    assert called == list(reversed(range(count)))


def test_tryfirst_and_trylast_order(manager: PluginManager) -> None:
    called: list[str] = []

    class Last:
        @hookimpl(trylast=True)
        def dsadapter_listener_opened(self) -> None:
            called.append("last")

    class First:
        @hookimpl(tryfirst=True)
        def dsadapter_listener_opened(self) -> None:
            called.append("first")

    manager.register(First())
    manager.register(plugin(listener_opened=lambda: called.append("middle")))
    manager.register(Last())
    assert manager.hooks.listener_opened is not None
    manager.hooks.listener_opened(RECORD)
    assert called == ["first", "middle", "last"]


def test_an_implementation_takes_the_arguments_that_it_names(manager: PluginManager) -> None:
    taken: list[Any] = []
    manager.register(plugin(listener_opened=lambda: taken.append("nothing")), "none")
    manager.register(plugin(listener_opened=lambda listener: taken.append(listener)), "one")
    manager.register(
        plugin(listener_opened=lambda listener, later="default": taken.append(later)), "default"
    )
    assert manager.hooks.listener_opened is not None
    manager.hooks.listener_opened(RECORD)
    assert taken == ["default", RECORD, "nothing"]


def test_unregistering_while_being_called_ends_the_calls(manager: PluginManager) -> None:
    called: list[str] = []

    def leave() -> None:
        called.append("leaving")
        manager.unregister("leaving")
        manager.unregister("other")

    manager.register(plugin(listener_opened=lambda: called.append("other")), "other")
    manager.register(plugin(listener_opened=leave), "leaving")
    notify = manager.hooks.listener_opened
    assert notify is not None
    notify(RECORD)
    notify(RECORD)
    assert called == ["leaving"]
    assert manager.hooks.listener_opened is None


def test_blocking_itself_while_being_called_keeps_it_out(manager: PluginManager) -> None:
    called: list[str] = []

    def block() -> None:
        called.append("blocking")
        manager.block("blocking")

    blocking = plugin(listener_opened=block)
    manager.register(blocking, "blocking")
    assert manager.hooks.listener_opened is not None
    manager.hooks.listener_opened(RECORD)
    assert manager.hooks.listener_opened is None
    with pytest.raises(PluginError, match="'blocking' is blocked"):
        manager.register(blocking, "blocking")
    assert called == ["blocking"]


def test_a_plugin_can_register_another_while_it_is_called(manager: PluginManager) -> None:
    called: list[str] = []
    other = plugin(listener_opened=lambda: called.append("other"))
    manager.register(
        plugin(listener_opened=lambda: manager.register(other, "other") and None), "first"
    )
    for _ in range(2):
        if "other" in manager.plugins:
            manager.unregister("first")
        assert manager.hooks.listener_opened is not None
        manager.hooks.listener_opened(RECORD)
    assert called == ["other"]


def test_a_failing_observer_is_named_and_the_others_are_called(
    manager: PluginManager, caplog: pytest.LogCaptureFixture
) -> None:
    recording = RecordingPlugin()
    manager.register(recording)
    manager.register(plugin(connection_made=lambda: 1 / 0), "failing")
    assert manager.hooks.connections is not None
    assert manager.hooks.connections.made is not None
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            manager.hooks.connections.made(RECORD)
    assert recording.of("connection_made") == [RECORD] * 100
    [record] = caplog.records
    assert record.getMessage() == (
        "plugin 'failing' raised ZeroDivisionError: division by zero in "
        "dsadapter_connection_made; nothing else was affected; fix or update it, or keep it out "
        "with DSADAPTER_BLOCK_PLUGINS=failing"
    )
    assert record.exc_info


def test_what_was_not_logged_is_counted(
    manager: PluginManager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.register(plugin(listener_opened=lambda: 1 / 0), "failing")
    assert manager.hooks.listener_opened is not None
    clock = [0.0]
    monkeypatch.setattr("dsadapter.rate_limit.time.monotonic", lambda: clock[0])
    for clock[0] in (100.0, 101.0, 102.0, 161.0):
        manager.hooks.listener_opened(RECORD)
    assert len(caplog.records) == 2
    assert "(2 more were not logged)" in caplog.text


def test_an_observer_that_returns_something_is_named(
    manager: PluginManager, caplog: pytest.LogCaptureFixture
) -> None:
    manager.register(plugin(listener_opened=lambda: 42), "answering")
    assert manager.hooks.listener_opened is not None
    manager.hooks.listener_opened(RECORD)
    assert "plugin 'answering' returned 42 instead of None in" in caplog.text


def test_an_observer_that_returns_a_coroutine_is_named_and_leaves_no_warning(
    manager: PluginManager, caplog: pytest.LogCaptureFixture
) -> None:
    async def later() -> None: ...

    manager.register(plugin(listener_opened=lambda: later()), "waiting")
    assert manager.hooks.listener_opened is not None
    # A warning would be an error here.
    manager.hooks.listener_opened(RECORD)
    gc.collect()
    assert "plugin 'waiting' returned a coroutine" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_is_not_caught(
    manager: PluginManager, error: type[BaseException]
) -> None:
    def interrupt() -> None:
        raise error

    manager.register(plugin(listener_opened=interrupt))
    assert manager.hooks.listener_opened is not None
    with pytest.raises(error):
        manager.hooks.listener_opened(RECORD)


def outbound(listener: Any = None) -> Connection:
    return Connection("any", listener, ("192.0.2.1", 80), ("192.0.2.2", 81), "outbound", True)


def of_the_listener(connection: Connection) -> str:
    return str(connection.listener.policy)  # type: ignore[union-attr]


def test_a_plugin_that_asks_every_connection_for_its_listener_is_told_which_line_to_change_once(
    manager: PluginManager, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def count(connection: Any) -> None:
        told.append(of_the_listener(connection))

    recording = RecordingPlugin()
    manager.register(recording)
    manager.register(plugin(connection_made=count, connection_lost=count), "older")
    manager.register(plugin(connection_made=count), "another")
    inbound: Any = SimpleNamespace(listener=SimpleNamespace(policy="here"))
    records = [outbound(), inbound] * 3
    for record in records:
        manager.hooks.connection_made(record)  # type: ignore[misc]
        manager.hooks.connection_lost(record)  # type: ignore[misc]
    assert recording.of("connection_made") == recording.of("connection_lost") == records
    assert told == ["here"] * 9
    line = of_the_listener.__code__.co_firstlineno + 1
    assert caplog.messages == [
        f"plugin {name!r} is told of accepted connections only, until {__file__}, line {line} is "
        f"changed ('return str(connection.listener.policy)  # type: ignore[union-attr]'): "
        f"connection.listener is None if connection.direction is 'outbound'"
        for name in ("another", "older")
    ]


def test_a_plugin_that_looks_every_listener_up_is_told_which_line_to_change(
    manager: PluginManager, caplog: pytest.LogCaptureFixture
) -> None:
    known: dict[Any, int] = {}
    manager.register(plugin(connection_made=lambda connection: known[connection.listener] and None))
    for _ in range(3):
        manager.hooks.connection_made(outbound())  # type: ignore[misc]
    [message] = caplog.messages
    assert "known[connection.listener]" in message


@pytest.mark.parametrize("error", [AttributeError("listener"), KeyError("x"), ValueError("None")])
def test_another_fault_is_no_reason_to_leave_outbound_connections_out(
    manager: PluginManager, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    asked: list[Any] = []

    def fail(connection: Any) -> None:
        asked.append(connection)
        raise error

    manager.register(plugin(connection_made=fail), "failing")
    for _ in range(3):
        manager.hooks.connection_made(outbound())  # type: ignore[misc]
    assert len(asked) == 3
    [message] = caplog.messages
    assert message.startswith(f"plugin 'failing' raised {type(error).__name__}")


async def asynchronous() -> None: ...


async def yielding() -> Any:
    yield


def wrapper() -> Any:
    yield


class Undirected:
    """Can't even be looked at."""

    def __dir__(self) -> list[str]:
        raise KeyError("no dir")


OLD_WRAPPER = pluggy.HookimplMarker("dsadapter")(hookwrapper=True)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (object(), "implements no hook; mark its functions with dsadapter.hookimpl"),
        (plugin(conection_made=lambda: None), "did you mean 'dsadapter_connection_made'?"),
        (plugin(xyzzy=lambda: None), "there is no hook 'dsadapter_xyzzy'; there are"),
        (plugin(before_bind=lambda sok: None), "no argument 'sok'; it has 'sock', 'policy'"),
        (plugin(connection_lost=asynchronous), "dsadapter_connection_lost is 'async'"),
        (plugin(register_frameworks=lambda: 7), "7 does not verify as a framework adapter"),
        (plugin(register_frameworks=lambda: 1 / 0), "ZeroDivisionError"),
        (plugin(register_frameworks=lambda: sys.exit(3)), "it raised SystemExit: 3, in"),
        (Undirected(), "it raised KeyError: 'no dir'"),
        (plugin(before_bind=lambda *, policy: None), "takes 'policy' by keyword alone"),
        (
            type("P", (), {"dsadapter_before_bind": hookimpl(wrapper=True)(wrapper)})(),  # type: ignore[call-overload]
            "is implemented as a wrapper",
        ),
        (
            type("P", (), {"dsadapter_before_bind": OLD_WRAPPER(wrapper)})(),
            "is implemented as a wrapper",
        ),
        (plugin(connection_lost=yielding), "dsadapter_connection_lost is 'async'"),
        (RecordingPlugin, "it is the class RecordingPlugin; name an instance, or a module"),
    ],
)
def test_a_broken_plugin_is_refused_whole(
    manager: PluginManager, broken: Any, message: str
) -> None:
    with pytest.raises(PluginError) as caught:
        manager.register(broken, "broken")
    assert message in str(caught.value)
    assert "plugin 'broken'" in str(caught.value)
    assert caught.value.plugin == "broken"
    assert dict(manager.plugins) == {}
    test_nobody_registered_leaves_every_hook_None(manager)


def test_a_class_of_static_functions_is_a_plugin(manager: PluginManager) -> None:
    told: list[Any] = []

    class Static:
        @staticmethod
        @hookimpl
        def dsadapter_listener_opened(listener: Any) -> None:
            told.append(listener)

    assert manager.register(Static) == "Static"
    assert manager.hooks.listener_opened is not None
    manager.hooks.listener_opened(RECORD)
    assert told == [RECORD]


def test_a_hook_of_another_version_can_be_optional(manager: PluginManager) -> None:
    class Newer:
        @hookimpl(optionalhook=True)
        def dsadapter_of_a_later_version(self, something: Any) -> None: ...

    assert manager.register(Newer()) == "Newer"


def test_a_hook_can_be_implemented_under_another_name(manager: PluginManager) -> None:
    called: list[Any] = []

    class Renamed:
        @hookimpl(specname="dsadapter_listener_opened")
        def log_it(self, listener: Any) -> None:
            called.append(listener)

    manager.register(Renamed())
    assert manager.hooks.listener_opened is not None
    manager.hooks.listener_opened(RECORD)
    assert called == [RECORD]


def test_a_plugin_in_the_place_of_one_that_is_broken_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, manager: PluginManager
) -> None:
    monkeypatch.setitem(sys.modules, "dsadapter.frameworks.twisted.adapter", None)
    manager.load()
    assert "can't be imported" in manager.failures["twisted"]
    manager.register(RecordingPlugin(), "twisted")
    assert "twisted" not in manager.failures


def test_two_plugins_of_one_name(manager: PluginManager) -> None:
    manager.register(RecordingPlugin(), "same")
    with pytest.raises(PluginError, match="called 'same' is registered already"):
        manager.register(RecordingPlugin(), "same")


def test_unregistering_what_is_not_there(manager: PluginManager) -> None:
    manager.register(RecordingPlugin(), "there")
    with pytest.raises(PluginError, match="no plugin is called 'absent'; there are 'there'"):
        manager.unregister("absent")


def test_a_mistyped_name_to_keep_out_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DSADAPTER_BLOCK_PLUGINS", "twistd,twisted")
    manager = PluginManager(block=["quite-another"])
    for _ in range(2):
        manager.load()
    another, mistyped = (m for m in caplog.messages if "keeps out" in m)
    assert another.startswith("no installed plugin is called 'quite-another', which")
    assert mistyped.startswith(
        "no installed plugin is called 'twistd', which DSADAPTER_BLOCK_PLUGINS keeps out; did you "
        "mean 'twisted'? (there are "
    )


def test_a_mistyped_name_to_require_is_told(manager: PluginManager) -> None:
    manager = PluginManager(require=["egres"])
    manager.register(RecordingPlugin(), "egress")
    with pytest.raises(PluginError, match=r"'egres' is required .*; did you mean 'egress'\?"):
        manager.check_required()


def test_environment_blocks_and_requires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSADAPTER_BLOCK_PLUGINS", " a, b ,,")
    monkeypatch.setenv("DSADAPTER_REQUIRE_PLUGINS", "c")
    manager = PluginManager(block=["x"], require=["y"])
    assert manager.blocked == {"a", "b", "x"}
    with pytest.raises(PluginError, match="plugin 'c' is required and not registered"):
        manager.check_required()
    manager.register(RecordingPlugin(), "c")
    with pytest.raises(PluginError, match="plugin 'y' is required"):
        manager.check_required()
    manager.register(RecordingPlugin(), "y")
    manager.check_required()
    manager.block("c")
    with pytest.raises(PluginError, match="plugin 'c' is required and blocked, so nothing opens"):
        manager.check_required()


@implementer(IServerEndpointFactory)
class Factory:
    def __call__(self, runtime: Any, policy: Any) -> Any:
        return runtime, policy


@implementer(IFrameworkAdapter)
class Adapter:
    requirement = "something>=1"
    server: Any = Factory()
    client: Any = None
    datagram: Any = None

    def __init__(self, name: Any = "something", available: bool = True) -> None:
        self.name = name
        self._available = available

    def is_available(self) -> bool:
        return self._available


def test_frameworks_come_and_go_with_their_plugin(manager: PluginManager) -> None:
    one, two = Adapter("one"), Adapter("two")
    manager.register(plugin(register_frameworks=lambda: [one, two]), "both")
    manager.register(plugin(register_frameworks=lambda: None), "none")
    assert dict(manager.frameworks) == {"one": one, "two": two}
    manager.unregister("both")
    assert dict(manager.frameworks) == {}


def test_a_framework_name_is_taken_once(manager: PluginManager) -> None:
    first = Adapter("taken")
    manager.register(plugin(register_frameworks=lambda: first), "first")
    with pytest.raises(PluginError, match="'taken' is contributed by 'first' already"):
        manager.register(plugin(register_frameworks=lambda: Adapter("taken")), "second")
    with pytest.raises(PluginError, match="'twice' is contributed by 'this very plugin'"):
        manager.register(
            plugin(register_frameworks=lambda: [Adapter("twice"), Adapter("twice")]), "third"
        )
    assert dict(manager.frameworks) == {"taken": first}


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_framework_needs_a_name(manager: PluginManager, name: Any) -> None:
    with pytest.raises(PluginError, match="which is no text"):
        manager.register(plugin(register_frameworks=lambda: Adapter(name)), "nameless")


def test_an_adapter_declares_that_it_is_one(manager: PluginManager) -> None:
    undeclared = SimpleNamespace(**{name: getattr(Adapter(), name) for name in IFrameworkAdapter})
    with pytest.raises(PluginError, match="does not verify as a framework adapter"):
        manager.register(plugin(register_frameworks=lambda: undeclared), "undeclared")


def test_a_factory_of_the_wrong_kind_is_refused(manager: PluginManager) -> None:
    adapter = Adapter()
    adapter.server = lambda: None
    with pytest.raises(PluginError, match="does not verify as a framework adapter"):
        manager.register(plugin(register_frameworks=lambda: adapter), "wrong")


def test_the_registry_gives_what_plugins_contribute() -> None:
    adapter = Adapter()
    with registered(plugin(register_frameworks=lambda: adapter), "stranger"):
        assert get_framework("something") is adapter
        assert get_framework("something").server("loop", "policy") == ("loop", "policy")
    with pytest.raises(UnknownFrameworkError, match="contributes the framework 'something'"):
        get_framework("something")


def test_the_registry_says_what_there_is_and_what_to_install() -> None:
    missing = plugin(register_frameworks=lambda: Adapter("missing", available=False))
    with registered(missing, "stranger"):
        with pytest.raises(UnknownFrameworkError) as caught:
            get_framework("missing")
        assert "'missing' is not installed; install 'something>=1'" in str(caught.value)
        with pytest.raises(UnknownFrameworkError) as caught:
            get_framework("unheard-of")
        text = str(caught.value)
        assert "missing (install 'something>=1'), trio (installed), twisted (installed)" in text


def test_Twisted_is_a_plugin_like_any_other() -> None:
    manager = get_plugin_manager()
    assert manager.plugins["twisted"].__name__ == "dsadapter.frameworks.twisted.adapter"
    adapter = get_framework("twisted")
    assert verifyObject(IFrameworkAdapter, adapter)
    assert verifyObject(IServerEndpointFactory, adapter.server)


def test_the_manager_of_the_process_is_made_once() -> None:
    manager = get_plugin_manager()
    assert get_plugin_manager() is manager
    with pytest.raises(RuntimeError, match="has been made already"):
        get_plugin_manager(block=["a"])


def test_registered_leaves_nothing_behind() -> None:
    manager = get_plugin_manager()
    before = dict(manager.plugins)
    with registered(RecordingPlugin()):
        assert "RecordingPlugin" in manager.plugins
    with pytest.raises(ZeroDivisionError), registered(RecordingPlugin()):
        raise ZeroDivisionError
    with registered(RecordingPlugin(), "left"):
        manager.unregister("left")
    assert dict(manager.plugins) == before
