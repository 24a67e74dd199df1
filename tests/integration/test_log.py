"""What the package logs reaches Twisted's log and the application's own handlers, each once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.environments import clean_environment

LISTEN = """
import logging, sys
from twisted.internet import endpoints, protocol, reactor
from twisted.logger import (
    FilteringLogObserver, LogLevel, LogLevelFilterPredicate, STDLibLogObserver, Logger,
    globalLogBeginner, globalLogPublisher, jsonFileLogObserver, textFileLogObserver,
)
from twisted.python import log
from dsadapter import hookimpl
from dsadapter.plugin import get_plugin_manager

class Failing:
    @hookimpl
    def dsadapter_listener_opened(self):
        raise ArithmeticError("an observer that fails")

def listen():
    get_plugin_manager().register(Failing(), "failing")
    endpoint = endpoints.serverFromString(reactor, "dualstack:0:interface=127.0.0.1")
    port = []
    endpoint.listen(protocol.Factory()).addCallback(port.append)
    return port[0]

def handler(stream):
    made = logging.StreamHandler(stream)
    made.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    return made
"""
SAID = "plugin 'failing' raised ArithmeticError: an observer that fails"


def output(script: str) -> tuple[str, str]:
    """What a program writes to standard output and to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", LISTEN + textwrap.dedent(script)],
        env=clean_environment(),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout, done.stderr


def times(script: str) -> tuple[int, int]:
    out, err = output(script)
    return out.count(SAID), err.count(SAID)


def test_it_reaches_a_log_that_has_begun() -> None:
    assert times("log.startLogging(sys.stdout); listen()") == (1, 0)


def test_it_comes_with_its_level_its_namespace_and_the_traceback() -> None:
    out, _ = output("globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)]); listen()")
    [line] = [line for line in out.splitlines() if SAID in line]
    assert "[dsadapter.plugins#error]" in line
    assert "in dsadapter_listener_opened" in out
    assert "builtins.ArithmeticError: an observer that fails" in out


@pytest.mark.parametrize("when", ["listen()", "reactor.callWhenRunning(listen)"])
def test_it_reaches_standard_error_where_nobody_logs(when: str) -> None:
    script = f"""
        {when}
        reactor.callWhenRunning(print, "running", file=sys.stderr)
        reactor.callLater(0, reactor.stop)
        reactor.run()
        print("stopped", file=sys.stderr)
    """
    out, err = output(script)
    assert SAID not in out
    assert err.count(SAID) == 1
    # At once, not at the end.
    assert SAID not in err.partition("stopped")[2]


def test_a_log_that_begins_when_all_is_open_has_it_alone() -> None:
    """As ``twist`` does it."""
    script = """
        listen()
        log.startLogging(sys.stdout)
        reactor.callLater(0, reactor.stop)
        reactor.run()
    """
    assert times(script) == (1, 0)


def test_what_is_said_before_the_log_begins_is_caught_up() -> None:
    script = """
        from dsadapter.frameworks.twisted.log_carrier import carry_log
        carry_log()
        logging.getLogger("dsadapter").warning("%s", "early")
        log.startLogging(sys.stdout)
        listen()
    """
    out, err = output(script)
    assert (out.count("early"), err.count("early")) == (1, 0)


def test_braces_in_a_message_are_its_own() -> None:
    script = """
        log.startLogging(sys.stdout)
        listen()
        logging.getLogger("dsadapter").warning("%s", "{log_time} {} {")
    """
    assert output(script)[0].count("{log_time} {} {") == 1


@pytest.mark.parametrize("ending", ["", "sys.exit(0)"])
def test_what_is_said_before_the_end_of_a_program_that_never_logs_is_said_at_the_end(
    ending: str,
) -> None:
    script = f"""
        from dsadapter.frameworks.twisted.log_carrier import carry_log
        carry_log()
        logging.getLogger("dsadapter").warning("%s", "early")
        {ending}
    """
    out, err = output(script)
    assert (out.count("early"), err.count("early")) == (0, 1)


def test_handlers_of_the_application_get_it_once_and_Twisted_s_log_too() -> None:
    script = """
        logging.getLogger().addHandler(handler(sys.stderr))
        log.startLogging(sys.stdout, setStdout=False)
        listen()
    """
    assert times(script) == (1, 1)


@pytest.mark.parametrize("name", ["twisted", "other"])
def test_Twisted_s_log_that_goes_on_into_logging(name: str) -> None:
    script = f"""
        logging.getLogger().addHandler(handler(sys.stderr))
        globalLogBeginner.beginLoggingTo([STDLibLogObserver({name!r})], redirectStandardIO=False)
        listen()
    """
    assert times(script) == (0, 1)


def test_Twisted_s_log_that_goes_to_a_file_and_on_into_logging() -> None:
    script = """
        logging.getLogger().addHandler(handler(sys.stderr))
        observers = [STDLibLogObserver(), textFileLogObserver(sys.stdout)]
        globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False)
        listen()
    """
    assert times(script) == (1, 1)


def test_its_older_observer_that_goes_on_into_logging() -> None:
    script = """
        logging.getLogger().addHandler(handler(sys.stderr))
        log.PythonLoggingObserver().start()
        listen()
    """
    assert times(script) == (0, 1)


def test_a_handler_of_Twisted_s_logger_alone() -> None:
    script = """
        logging.getLogger("twisted").addHandler(handler(sys.stdout))
        logging.getLogger().addHandler(handler(sys.stderr))
        globalLogBeginner.beginLoggingTo([STDLibLogObserver()], redirectStandardIO=False)
        listen()
    """
    assert times(script) == (1, 1)


def test_standard_error_that_is_Twisted_s_log() -> None:
    script = """
        log.startLogging(sys.stdout)
        logging.basicConfig()
        listen()
    """
    assert times(script) == (1, 0)


def test_logging_that_is_not_set_up_but_gets_Twisted_s_log() -> None:
    script = """
        globalLogBeginner.beginLoggingTo([STDLibLogObserver()], redirectStandardIO=False)
        listen()
    """
    assert times(script) == (0, 1)


def test_other_messages_of_Twisted_still_go_on_into_logging() -> None:
    script = """
        logging.getLogger().addHandler(handler(sys.stderr))
        globalLogBeginner.beginLoggingTo([STDLibLogObserver()], redirectStandardIO=False)
        listen()
        Logger("mine").error("of the application")
    """
    out, err = output(script)
    assert (out, err.count("of the application")) == ("", 1)


def test_an_import_leaves_logging_alone() -> None:
    script = """
        from dsadapter.frameworks.twisted import DualStackServerEndpoint
        import dsadapter.frameworks.twisted.server.stream_port, dsadapter.listener
        ours = logging.getLogger("dsadapter")
        print(ours.handlers, ours.filters, ours.level, logging.getLogger("twisted").filters)
    """
    assert output(script) == ("[] [] 0 []\n", "")


def test_two_endpoints_carry_it_once() -> None:
    out, _ = output("log.startLogging(sys.stdout); listen(); log.msg('then')")
    assert (out.count(SAID), out.count("then")) == (1, 1)
    script = """
        from dsadapter.frameworks.twisted import DualStackServerEndpoint
        log.startLogging(sys.stdout)
        for _ in range(3):
            DualStackServerEndpoint(reactor, 0).listen(protocol.Factory())
        logging.getLogger("dsadapter").warning("%s", "once")
    """
    assert output(script)[0].count("once") == 1


def test_a_parameter_is_spelled_as_Twisted_s_users_type_it() -> None:
    script = """
        from dsadapter.messages import Message
        log.startLogging(sys.stdout)
        listen()
        logging.getLogger("dsadapter").warning("%s", Message("choose {reuse_port}"))
    """
    out, _ = output(script)
    assert "choose reusePort" in out


def test_a_json_log_can_be_read(tmp_path: Path) -> None:
    script = f"""
        from twisted.logger import eventsFromJSONLogFile
        with open({str(tmp_path / "log.json")!r}, "w") as file:
            globalLogBeginner.beginLoggingTo([jsonFileLogObserver(file)], redirectStandardIO=False)
            listen()
        from twisted.logger import formatEvent
        with open({str(tmp_path / "log.json")!r}) as file:
            for event in eventsFromJSONLogFile(file):
                print(formatEvent(event))
    """
    assert times(script) == (1, 0)
