"""Rules that installed plugins bring: the example, and broken ones."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.builds import CHECKOUT, build
from support.distributions import build_plugin
from support.environments import clean_environment

SOURCE = "from gevent.pywsgi import WSGIServer\nWSGIServer(('::', 80), app).serve_forever()\n"
IMPORTS = "from dsadapter import hookimpl\nfrom dsadapter.migration import Pattern, Rule\n"


def scan(folder: Path, *options: str, installed: Path) -> subprocess.CompletedProcess[str]:
    (folder / "server.py").write_text(SOURCE)
    return subprocess.run(
        [sys.executable, "-m", "dsadapter", "scan", *options, "server.py"],
        cwd=folder,
        env=clean_environment(PYTHONPATH=str(installed)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def install(wheel: Path, folder: Path) -> Path:
    """What an installer does with a wheel of pure Python."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    build(CHECKOUT / "examples" / "plugin_rules", folder / "dist", "--wheel")
    (wheel,) = (folder / "dist").glob("*.whl")
    return install(wheel, folder / "installed")


def test_the_example_finds_what_it_is_for(tmp_path, example):
    done = scan(tmp_path, installed=example)
    assert done.returncode == 1
    assert "server.py:2:1: GEVENT1 likely  WSGIServer listens on ::\n" in done.stdout
    assert "    why: gevent leaves IPV6_V6ONLY to the system" in done.stdout


def test_its_pattern_is_described_to_code_hosts(tmp_path, example):
    done = scan(tmp_path, "--format", "sarif", installed=example)
    (run,) = json.loads(done.stdout)["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["id"] == "GEVENT1"


def test_a_comment_silences_it(tmp_path, example):
    (tmp_path / "server.py").write_text(SOURCE)
    global_source = SOURCE.rstrip() + "  # dsadapter: ignore[GEVENT1]\n"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.py").write_text(global_source)
    done = subprocess.run(
        [sys.executable, "-m", "dsadapter", "scan", "other"],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(example)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0


BROKEN = {
    "raises": ("def dsadapter_register_rules(): return 1 / 0", "ZeroDivisionError"),
    "no-rule": ("def dsadapter_register_rules(): return 7", "returned 7 from"),
    "taken": (
        (
            "def dsadapter_register_rules():\n"
            "    return Rule((b'x',), print, (Pattern('P1', '', '', ''),))"
        ),
        "pattern 'P1', which is dsadapter's",
    ),
    "no-triggers": (
        "def dsadapter_register_rules(): return Rule((), print)",
        "has the triggers ()",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_ends_the_scan_in_one_line(tmp_path, fault):
    """A scan without its rules would call files clean that are not."""
    text, message = BROKEN[fault]
    module = f"{IMPORTS}@hookimpl\n{text}\n"
    name = f"rules-{fault}"
    wheel = build_plugin(
        tmp_path / "made", name, {"broken_rules.py": module}, {name: "broken_rules"}
    )
    done = scan(tmp_path, installed=install(wheel, tmp_path / "installed"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("dsadapter scan: ")
    assert message in done.stderr
    assert name in done.stderr


def test_a_rule_that_raises_is_a_failure_of_that_file(tmp_path):
    module = (
        f"{IMPORTS}def check(module):\n    raise KeyError('x')\n"
        "@hookimpl\ndef dsadapter_register_rules():\n    return Rule((b'gevent',), check)\n"
    )
    wheel = build_plugin(
        tmp_path / "made", "raising", {"raising.py": module}, {"raising": "raising"}
    )
    done = scan(tmp_path, installed=install(wheel, tmp_path / "installed"))
    assert done.returncode == 2
    assert "server.py:0: not looked at: rule raising.check failed: KeyError: 'x'" in done.stdout
