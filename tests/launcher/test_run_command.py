"""``dsadapter run``: which program it becomes, what it refuses, and what it says."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.environments import clean_environment
from support.launched import DSADAPTER, finished, launch, said

SEE = (
    "import json, os, sys; "
    "print(json.dumps([os.getpid(), sys.argv, 'Watcher' in str(sys.meta_path)]))"
)


def script(folder: Path, first: str, name: str = "program", body: str = SEE) -> Path:
    path = folder / name
    path.write_text(f"{first}\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def seen(argv: list[str], **kwargs: object) -> tuple[list[str], bool]:
    done = finished(argv, **kwargs)
    assert done.returncode == 0, done.stderr
    _, arguments, covered = json.loads(done.stdout)
    return arguments, covered


def test_the_process_is_the_programs_own(tmp_path: Path) -> None:
    path = script(tmp_path, "#!" + sys.executable)
    with subprocess.Popen(launch(str(path), "a b"), stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=60)
    assert json.loads(output) == [process.pid, [str(path), "a b"], True]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="nothing here is always full")
@pytest.mark.parametrize("options", [(), ("--guard=log",)])
def test_standard_error_that_takes_nothing_keeps_no_program_from_running(
    options: tuple[str, ...],
) -> None:
    argv = launch(sys.executable, "-c", "print('ran')", options=options)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=full, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stdout) == (0, "ran\n")


def test_status_and_signals_are_the_programs_own() -> None:
    assert finished(launch(sys.executable, "-c", "raise SystemExit(7)")).returncode == 7
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    assert finished(launch(sys.executable, "-c", kill)).returncode == -signal.SIGTERM


def test_no_signal_handler_is_installed(tmp_path: Path) -> None:
    body = (
        "import signal, socket; s = socket.create_server(('::', 0), family=socket.AF_INET6); "
        "print([signal.getsignal(n) for n in signal.valid_signals() if n not in (9, 19)])"
    )
    without = finished([sys.executable, "-c", body])
    covered = finished(launch(sys.executable, "-c", body, options=("--explain",)))
    assert covered.stdout == without.stdout != ""


def test_a_name_on_path(tmp_path: Path) -> None:
    script(tmp_path, "#!" + sys.executable, "some-server")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert seen(launch("some-server"), env=clean_environment(PATH=path))[1]


def test_a_program_of_this_environment_that_is_not_on_path() -> None:
    done = finished(launch("twist", "--version"), env=clean_environment(PATH="/usr/bin:/bin"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [["-c", SEE, "x"], ["-bc", SEE, "x"]])
def test_options_of_python_alone(words: list[str]) -> None:
    assert seen(launch(*words)) == (["-c", "x"], True)


def test_a_module(tmp_path: Path) -> None:
    (tmp_path / "some_module.py").write_text(SEE, encoding="utf-8")
    arguments, covered = seen(launch("-m", "some_module", "x"), cwd=tmp_path)
    assert (arguments[1:], covered) == (["x"], True)


def test_a_file_that_can_not_be_executed(tmp_path: Path) -> None:
    path = tmp_path / "server.py"
    path.write_text(SEE, encoding="utf-8")
    assert seen(launch(str(path), "x")) == ([str(path), "x"], True)
    assert seen(launch("server.py", "x"), cwd=tmp_path) == (["server.py", "x"], True)


@pytest.mark.parametrize(
    "first",
    [
        "#!{python}",
        "#! {python} -u",
        "#!/usr/bin/env -S {python} -u",
        "#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''",
    ],
)
def test_a_first_line(tmp_path: Path, first: str) -> None:
    path = script(tmp_path, first.format(python=sys.executable))
    assert seen(launch(str(path), "x")) == ([str(path), "x"], True)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["-I"], []),
        (["-E"], []),
        (["-S"], []),
        (["-uIB"], ["-uB"]),
        (["-W", "error", "-S"], ["-W", "error"]),
        (["-Xdev", "-sE"], ["-Xdev", "-s"]),
    ],
)
def test_options_that_keep_it_out_are_refused_with_the_line_to_type(
    options: list[str], left: list[str]
) -> None:
    program = [sys.executable, *options, "-c", SEE]
    done = finished(launch(*program, options=("--widen", "--merge-pairs", "--only=80,443")))
    assert (done.returncode, done.stdout) == (2, "")
    text, _, advice = done.stderr.strip().rpartition("; type: ")
    assert f"keeps dsadapter out of {sys.executable}" in text
    words = shlex.split(advice)
    expected = [sys.executable, *left, "-c", SEE]
    assert words == [
        "dsadapter",
        "run",
        "--only=80,443",
        "--widen",
        "--merge-pairs",
        "--",
        *expected,
    ]
    assert seen([*DSADAPTER, *words[1:]])[1]


def test_options_in_a_first_line_are_refused_with_the_line_to_type(tmp_path: Path) -> None:
    path = script(tmp_path, f"#!{sys.executable} -IB")
    done = finished(launch(str(path), "x"))
    assert done.returncode == 2
    words = shlex.split(done.stderr.strip().rpartition("; type: ")[2])
    assert words == ["dsadapter", "run", "--", sys.executable, str(path), "x"]
    assert seen([*DSADAPTER, *words[1:]]) == ([str(path), "x"], True)


def test_a_program_of_another_environment_is_refused(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "other")], check=True
    )
    python = tmp_path / "other" / "bin" / "python"
    path = script(tmp_path, f"#!{python}")
    done = finished(launch(str(path), "x"))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"runs by the Python of {tmp_path / 'other'}" in done.stderr
    assert f"{python} -m pip install dsadapter && " in done.stderr
    # Once it is there, the line is what to type.
    (python.parent / "dsadapter").touch()
    done = finished(launch(str(path), "x"))
    advice = shlex.split(done.stderr.strip().rpartition("; type: ")[2])
    assert advice == [str(python.parent / "dsadapter"), "run", "--", str(path), "x"]


def test_an_environment_by_another_name_is_the_same(tmp_path: Path) -> None:
    """A release may be started by the link that says which one is the current."""
    (tmp_path / "current").symlink_to(sys.prefix)
    python = str(tmp_path / "current" / "bin" / "python")
    child = f"import subprocess; subprocess.run([{python!r}, '-c', {SEE!r}])"
    for command in (launch(python, "-c", SEE), launch("-c", child), launch(python, "-c", child)):
        done = finished(command)
        assert done.stdout.endswith("true]\n"), done.stderr
        assert said(done) == []


def test_another_python_among_the_children_stays_as_it_is(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "other")], check=True
    )
    python = tmp_path / "other" / "bin" / "python"
    body = f"import subprocess; subprocess.run([{str(python)!r}, '-c', {SEE!r}], check=True)"
    done = finished(launch(sys.executable, "-c", body))
    assert json.loads(done.stdout)[2] is False
    assert said(done) == []


def test_what_is_no_python_program_is_said_and_runs() -> None:
    done = finished(launch("echo", "hello"))
    assert done.stdout == "hello\n"
    assert "echo is no Python program: only Python programs of" in done.stderr


@pytest.mark.parametrize("name", ["python", "program"])
def test_a_script_that_starts_python_is_said_to_be_one(tmp_path: Path, name: str) -> None:
    """pyenv and asdf have such ones on PATH."""
    shims = tmp_path / "shims"
    shims.mkdir()
    script(shims, "#!/bin/sh", "python", f'exec {shlex.quote(sys.executable)} "$@"')
    script(tmp_path, "#!/usr/bin/env python", "program")
    env = clean_environment(PATH=f"{shims}{os.pathsep}{tmp_path}{os.pathsep}{os.environ['PATH']}")
    words = ["python", "-c", SEE] if name == "python" else ["program"]
    done = finished(launch(*words, "x", options=("--widen",)), env=env)
    assert json.loads(done.stdout)[2] is True
    assert f"{shims / 'python'} is a script for sh: what it starts is covered if" in done.stderr
    advice = shlex.split(done.stderr.strip().rpartition("; to be sure, type: ")[2])
    arguments = ["-c", SEE, "x"] if name == "python" else [str(tmp_path / "program"), "x"]
    assert advice == ["dsadapter", "run", "--widen", "--", sys.executable, *arguments]
    assert seen([*DSADAPTER, *advice[1:]], env=env)[1]


@pytest.mark.parametrize("program", ["script", "env"])
def test_another_python_behind_what_is_no_python_says_that_it_is_not_covered(
    tmp_path: Path, program: str
) -> None:
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(other)], check=True)
    python = str(other / "bin" / "python")
    path = script(tmp_path, "#!/bin/sh", "program", f'exec {shlex.quote(python)} "$@"')
    start = [str(path)] if program == "script" else ["env", python]
    body = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SEE!r}], check=True)"
    done = finished(launch(*start, "-c", body))
    assert json.loads(done.stdout)[2] is False
    assert done.stderr.count(f" of {other}, and is not covered; type: {python} -m pip") == 1


@pytest.mark.parametrize("words", [["--bogus"], ["--bogus", "--", "true"], ["--only"]])
def test_what_the_command_does_not_know_is_shown_with_its_own_usage(words: list[str]) -> None:
    done = finished([*DSADAPTER, "run", *words])
    assert done.returncode == 2
    assert done.stderr.startswith("usage: dsadapter run [OPTIONS] -- PROGRAM")
    assert words[0] in done.stderr.splitlines()[-1]


def test_explain_takes_no_program_for_a_file(tmp_path: Path) -> None:
    path = script(tmp_path, "#!" + sys.executable)
    before = path.read_text()
    command = [*DSADAPTER, "run", "--explain", str(path), "--explain", "x"]
    assert seen(command) == ([str(path), "--explain", "x"], True)
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name a program: dsadapter run -- PROGRAM"),
        (["no-such-program"], "there is no program 'no-such-program' on PATH"),
        (["./no/such/file"], "there is no program './no/such/file'"),
        (["/"], "'/' is a folder without __main__.py"),
    ],
)
def test_what_can_not_be_run(words: list[str], says: str) -> None:
    done = finished([*DSADAPTER, "run", "--", *words])
    assert done.returncode == 2
    assert done.stderr.startswith(f"dsadapter run: {says}")


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("#!{python}\r", "the first line of {path} names an interpreter that is not there"),
        ("\ufeff#!{python}", "it has no first line that names its interpreter"),
    ],
)
def test_a_first_line_that_the_kernel_reads_otherwise(
    tmp_path: Path, first: str, says: str
) -> None:
    path = script(tmp_path, first.format(python=sys.executable))
    done = finished(launch(str(path)))
    assert done.returncode == 2
    assert done.stderr.strip().endswith(says.format(path=path))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o755)
    assert "can't be run: Permission denied" in finished(launch(str(path))).stderr
    body = (
        "import subprocess\n"
        f"try: subprocess.run([{str(path)!r}])\n"
        "except PermissionError: print('refused')\n"
    )
    assert finished(launch(sys.executable, "-c", body)).stdout == "refused\n"


def test_variables_that_somebody_else_has_written_widen_nothing(tmp_path: Path) -> None:
    body = (
        "import os, subprocess, sys\n"
        "os.environ['DSADAPTER_RUN_OPTIONS'] = 'only=x,-1,\u0663 except== = widen=1'\n"
        "code = 'import socket; s = socket.socket(10); s.setsockopt(41, 26, 1); "
        's.bind(("::", 0)); s.listen(); print(s.getsockopt(41, 26))\'\n'
        "subprocess.run([sys.executable, '-c', code], check=True)\n"
    )
    done = finished(launch(sys.executable, "-c", body))
    assert (done.stdout, said(done)) == ("1\n", []), done.stderr


@pytest.mark.parametrize("given", ["", ":", "/x:", ":/x", "/x"])
def test_a_path_of_the_user_stays_what_it_is(given: str) -> None:
    body = "import sys; print(sys.path[1:-3])"
    env = clean_environment(PYTHONPATH=given)
    without = eval(finished([sys.executable, "-c", body], env=env).stdout)
    covered = eval(finished(launch(sys.executable, "-c", body), env=env).stdout)
    assert [place for place in covered if Path(place).name != "hook"] == without


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = script(tmp_path, "#!" + sys.executable)
    path.chmod(0o644)
    done = finished(launch(str(path)))
    assert done.returncode == 2
    advice = done.stderr.strip().rpartition("; type: ")[2]
    subprocess.run(advice, shell=True, check=True)
    assert seen(launch(str(path)))[1]


@pytest.mark.parametrize("option", ["--only=x", "--except=0", "--only=65536", "--only="])
def test_ports_that_are_none(option: str) -> None:
    done = finished(launch("true", options=(option,)))
    assert done.returncode == 2
    assert "is not PORT,PORT,... of 1 to 65535" in done.stderr


def test_the_start_line_is_on_standard_error_and_names_what_is_covered() -> None:
    done = finished(launch(sys.executable, "-c", "pass", options=("--only=80", "--except=81")))
    assert done.stdout == ""
    which = f"each listener on :: with port 80 but 81 that {sys.executable} opens in Python"
    assert which in done.stderr
    assert "serves IPv4 and IPv6, and shows IPv4 peers as IPv4; " in done.stderr
    assert "firewall rules for one family don't cover that" in done.stderr


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    from dsadapter.launcher.folder import foreign_files, writable_by_others

    folder = tmp_path / "site-packages" / "hook"
    folder.mkdir(parents=True)
    assert writable_by_others(str(folder)) is None
    folder.parent.chmod(0o777)
    assert writable_by_others(str(folder)) == str(folder.parent)
    folder.parent.chmod(0o1777)
    assert writable_by_others(str(folder)) is None
    (folder / "sitecustomize.py").touch()
    assert foreign_files(str(folder)) == []
    (folder / "socket.py").touch()
    assert foreign_files(str(folder)) == ["socket.py"]
    assert foreign_files() == []


def test_the_variables_carry_nothing_but_prefix_version_and_options() -> None:
    body = "import os, json; print(json.dumps(dict(os.environ)))"
    without = json.loads(finished([sys.executable, "-c", body]).stdout)
    covered = json.loads(
        finished(launch(sys.executable, "-c", body, options=("--only=80", "--widen"))).stdout
    )
    new = {name: value for name, value in covered.items() if without.get(name) != value}
    folder = Path(new.pop("PYTHONPATH"))
    assert folder.name == "hook"
    prefix = os.path.realpath(sys.prefix)
    assert new == {
        "DSADAPTER_RUN": f"{sys.version_info[0]}.{sys.version_info[1]} {prefix}",
        "DSADAPTER_RUN_OPTIONS": "widen only=80",
    }
