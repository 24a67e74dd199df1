"""Checks that distributions bring to the doctor: real ones, and ones that raise, hang, crash, flood
and lie."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.builds import Distributions
from support.distributions import build_plugin
from support.environments import Environment, clean_environment, create_environment
from support.examined import Report

IMPORTS = "from dsadapter import hookimpl\nfrom dsadapter.doctor import Check, Finding\n"
PLUGIN = IMPORTS + "@hookimpl\ndef dsadapter_register_checks():\n"
ONLY = "--only=plugin"

Examine = Callable[..., Report]


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    made = create_environment(tmp_path_factory.mktemp("checks") / "environment", "uv")
    # Compiled once: what runs there leaves no byte code.
    made.install("--compile-bytecode", distributions.wheel)
    return made


def examined_by(environment: Environment, *words: str, **variables: str) -> Report:
    done = subprocess.run(
        [str(environment.python), "-B", "-m", "dsadapter", "doctor", "--json", *words],
        env=clean_environment(**variables),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert said["status"] == done.returncode
    return Report(done.returncode, said["rows"])


@pytest.fixture
def examine(environment: Environment, tmp_path: Path) -> Iterator[Examine]:
    installed: list[str] = []

    def run(
        name: str = "", source: str = "", *words: str, entry: str = "", **variables: str
    ) -> Report:
        if source:
            wheel = build_plugin(
                tmp_path / name, name, {f"{name}.py": source}, {entry or name: name}
            )
            environment.install(wheel)
            installed.append(name)
        return examined_by(environment, *words, **variables)

    yield run
    for name in installed:
        environment.uninstall(name)


GOOD = f"""{PLUGIN}    return [Check("a.b", "thing", look), Check("none", "none", lambda q: None)]

def look(question):
    print("nobody sees this")
    ports = ",".join(str(port.number) for port in question.ports)
    return [Finding("ok", f"asked for {{ports}}", "type this", "one", "detail"),
            Finding("problem", "it won't", subject="two")]
"""


def test_a_check_is_a_row_and_can_be_a_problem(examine: Examine) -> None:
    report = examine("good", GOOD, ONLY, "8080", "9/udp")
    assert report.row("plugin", "good")["fact"] == "good 1.0"
    row = report.row("good:a.b", "one")
    assert row == {
        "id": "good:a.b",
        "subject": "one",
        "title": "thing",
        "mark": "ok",
        "fact": "asked for 8080,9",
        "remedy": ["type this"],
        "detail": ["detail"],
        "failed": False,
    }
    assert report.row("good:a.b", "two")["mark"] == "problem"
    assert report.status == 1


SEGFAULT = "import ctypes; ctypes.string_at(0)"
CHECKS = {
    "raises": ("def look(question): raise KeyError('\\x1b[2J')", "it raised KeyError: '"),
    "exits": ("def look(question): raise SystemExit(3)", "it raised SystemExit: 3"),
    "crashes": (f"def look(question): {SEGFAULT}", "it was ended by SIGSEGV"),
    "leaves": ("def look(question): import os; os._exit(7)", "it exited with status 7"),
    "hangs": ("def look(question):\n    import time; time.sleep(600)", "it took longer than 1 s"),
    "forks": (
        (
            "def look(question):\n    import os, time\n"
            "    if not os.fork(): time.sleep(600)\n    time.sleep(600)"
        ),
        "it took longer than 1 s",
    ),
    "garbage": ("def look(question): return 7", "returned 7; return a dsadapter.doctor.Finding"),
    "text": ("def look(question): return 'fine'", "returned 'fine'"),
    "mark": ("def look(question): return Finding('fatal', 'x')", "a finding marked 'fatal'"),
    "empty": ("def look(question): return Finding('ok', ' ')", "a finding whose texts are"),
    "bytes": ("def look(question): return Finding('ok', b'x')", "a finding whose texts are"),
    "among": ("def look(question): return [Finding('ok', 'x'), 7]", "returned 7 among"),
    "async": ("async def look(question): pass", "returned <coroutine object"),
}


CONTRIBUTIONS = {
    "raises": ("    return 1 / 0", "ZeroDivisionError"),
    "hangs": ("    import time; time.sleep(600)", "it took longer than"),
    "crashes": (f"    {SEGFAULT}", "it was ended by SIGSEGV"),
    "garbage": ("    return 7", "returned 7; return dsadapter.doctor.Check"),
    "id": ("    return Check('A b', 'x', print)", "the id 'A b'"),
    "twice": ("    return [Check('a', 'x', print)] * 2", "two checks with one id"),
    "limit": ("    return Check('a', 'x', print, 1e9)", "the limit 1000000000.0"),
    "call": ("    return Check('a', 'x', None)", "can't be called"),
}


FLOOD = """
def look(question):
    print("x" * 10_000_000)
    return [Finding("ok", "y" * 100_000, "z\\n" * 100_000)] * 10_000
"""


@pytest.fixture(scope="module")
def failing(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What is said of all of them in one run, beside a check that is fine."""
    later = 'Check("later", "later", lambda q: Finding("ok", "x"))'
    sources = {}
    for fault, (source, says) in CHECKS.items():
        # A busy machine takes long for the others, too.
        limit = 1.0 if "took longer" in says else 60.0
        both = f'Check("bad", "bad", look, {limit}), {later}'
        sources[f"check-{fault}"] = f"{PLUGIN}    return [{both}]\n\n{source}\n"
    sources |= {f"hook-{fault}": f"{PLUGIN}{text}\n" for fault, (text, _) in CONTRIBUTIONS.items()}
    sources["flood"] = f"{PLUGIN}    return Check('flood', 't' * 10_000, look)\n{FLOOD}"
    names = {name: name.replace("-", "_") + "_failing" for name in sources}
    modules = {f"{names[name]}.py": source for name, source in sources.items()}
    folder = tmp_path_factory.mktemp("failing")
    environment = create_environment(folder / "environment", "uv")
    wheel = build_plugin(folder, "failing", modules, names)
    environment.install("--compile-bytecode", distributions.wheel, wheel)
    return examined_by(environment, ONLY)


def test_what_fails_is_no_problem(failing: Report) -> None:
    assert failing.status == 0


@pytest.mark.parametrize("fault", CHECKS)
def test_a_check_that_fails_is_a_row_and_nothing_else(failing: Report, fault: str) -> None:
    rows = [row for row in failing.rows if row["id"] == f"check-{fault}:bad"]
    row = rows[-1]
    assert (row["mark"], row["failed"]) == ("advice", True)
    assert CHECKS[fault][1] in row["fact"]
    assert failing.row(f"check-{fault}:later")["fact"] == "x"


@pytest.mark.parametrize("fault", CONTRIBUTIONS)
def test_what_is_no_check_is_a_row(failing: Report, fault: str) -> None:
    row = failing.row(f"hook-{fault}:checks")
    assert row["failed"]
    assert CONTRIBUTIONS[fault][1] in row["fact"]


def test_a_flood_is_cut(failing: Report) -> None:
    rows = [row for row in failing.rows if row["id"] == "flood:flood"]
    assert 0 < len(rows) <= 202
    assert len(json.dumps(rows)) < 2_000_000
    assert len(rows[0]["fact"]) < 600


IMPORTING = {
    "hangs": ("import time\ntime.sleep(600)", "it took longer than 10 s"),
    "crashes": (SEGFAULT, "it was ended by SIGSEGV"),
    "leaves": ("import os\nos._exit(0)", "it exited with status 0"),
    "raises": ("raise RuntimeError('the disk is full')", "RuntimeError: the disk is full"),
}


@pytest.mark.parametrize("fault", IMPORTING)
def test_a_plugin_that_can_not_be_loaded_is_named_and_what_is_advised_helps(
    examine: Examine, fault: str
) -> None:
    source, message = IMPORTING[fault]
    examine("good", GOOD.replace("problem", "advice"), ONLY)
    report = examine("broken", source + "\n", ONLY)
    row = report.row("plugin", "broken")
    assert row["mark"] == "advice"
    assert message in row["fact"]
    assert report.status == 0
    # The other one is told of all the same.
    assert report.row("good:a.b", "two")["fact"] == "it won't"
    [command] = row["remedy"]
    variable, _, value = command.removeprefix("export ").partition("=")
    advised = examine("", "", ONLY, **{variable: value})
    assert advised.row("plugin", "broken")["fact"] == "kept out by DSADAPTER_BLOCK_PLUGINS"
    if fault == "raises":
        report = examine("", "", ONLY, DSADAPTER_REQUIRE_PLUGINS="broken,good")
        assert report.status == 1
        assert report.row("plugin", "broken")["fact"].startswith("required and broken, so nothing")


def test_what_the_variables_name(examine: Examine) -> None:
    report = examine("", "", ONLY, DSADAPTER_REQUIRE_PLUGINS="twisted,twistd")
    row = report.row("plugin", "twistd")
    assert row["fact"] == ("required and not installed; did you mean 'twisted'?, so nothing opens")
    assert (report.status, row["remedy"]) == (1, ["export DSADAPTER_REQUIRE_PLUGINS=twisted"])
    assert examine("", "", ONLY, DSADAPTER_REQUIRE_PLUGINS="twisted").status == 0

    report = examine("", "", ONLY, DSADAPTER_BLOCK_PLUGINS="twisted")
    row = report.row("plugin", "twisted")
    assert (report.status, row["mark"]) == (1, "problem")
    assert "'dualstack:' strings and get_framework('twisted') fail" in row["fact"]
    assert row["remedy"] == ["unset DSADAPTER_BLOCK_PLUGINS"]

    report = examine("", "", ONLY, DSADAPTER_BLOCK_PLUGINS="anyoi,trio")
    assert report.status == 0
    assert report.row("plugin", "anyoi")["remedy"] == ["export DSADAPTER_BLOCK_PLUGINS=trio"]
    assert report.row("plugin", "trio")["mark"] == "advice"


HOSTILE = "$(reboot); 'x' rm"


def test_hostile_names_steer_no_shell(examine: Examine) -> None:
    report = examine("hostile", "1 / 0\n", ONLY, entry=f'"{HOSTILE}"')
    [command] = report.row("plugin", HOSTILE)["remedy"]
    shown = 'printf %s "$DSADAPTER_BLOCK_PLUGINS"'
    done = subprocess.run(
        ["sh", "-c", f"{command}; {shown}"], capture_output=True, text=True, check=True
    )
    assert done.stdout == HOSTILE


def test_a_metadata_that_can_not_be_read_is_told(
    examine: Examine, environment: Environment
) -> None:
    examine("good", GOOD.replace("problem", "advice"), ONLY)
    broken = environment.site_packages / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Name: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_bytes(b"[dsadapter]\n\xff\xfe = x\n")
    report = examine("", "", ONLY)
    [row] = [row for row in report.rows if "can't be read" in row["fact"]]
    assert row["mark"] == "advice"
    assert report.row("plugin", "good")["mark"] == "ok"
    [command] = row["remedy"]
    subprocess.run(command, shell=True, check=True)
    assert not broken.exists()
    assert examine("", "", ONLY).marks().keys() == {"good:a.b two"}


def test_nothing_of_a_check_lives_on(examine: Examine, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    source = f"""{PLUGIN}    return Check("bad", "bad", look, LIMIT)

def look(question):
    import os, time
    if not os.fork():
        with open({str(note)!r}, "w") as file:
            file.write(str(os.getpid()))
    time.sleep(600)
"""
    for limit in ("0.5", "10"):
        # A busy machine may not come to it in half a second.
        examine("failing", source.replace("LIMIT", limit), ONLY)
        if note.exists() and note.read_text():
            break
    process = Path("/proc") / note.read_text()
    deadline = time.monotonic() + 30
    while process.exists() and "Z" not in (process / "stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.02)


def test_rich_is_not_needed_and_named_extras_are_the_ones_to_install(
    environment: Environment,
) -> None:
    done = subprocess.run(
        [
            str(environment.python),
            "-B",
            "-m",
            "dsadapter",
            "doctor",
            "-v",
            "--only=extra,framework",
        ],
        env=clean_environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for extra in ("cli", "migrate", "uvloop", "trio", "anyio"):
        assert f"-m pip install 'dsadapter[{extra}]'" in done.stdout
