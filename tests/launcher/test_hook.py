"""The hook in a process: it changes nothing before the program imports ``socket``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.environments import clean_environment
from support.launched import finished, launch, run_script, said

MODULES = "import sys; print(sorted(sys.modules))"


def test_it_imports_nothing() -> None:
    without = finished([sys.executable, "-c", MODULES])
    covered = finished(launch(sys.executable, "-c", MODULES))
    # Debian's Python has a sitecustomize of its own.
    new = set(eval(covered.stdout)) - set(eval(without.stdout)) - {"sitecustomize"}
    assert new == set()


def test_an_import_of_socket_brings_nothing_foreign() -> None:
    body = f"import socket; {MODULES}"
    without = finished([sys.executable, "-c", body])
    covered = finished(launch(sys.executable, "-c", body))
    new = set(eval(covered.stdout)) - set(eval(without.stdout)) - {"sitecustomize", "__future__"}
    assert all(name.partition(".")[0] == "dsadapter" for name in new), new


def test_modules_have_their_own_loaders() -> None:
    body = (
        "import socket, importlib.util; print(type(socket.__loader__).__name__, "
        "type(socket.__spec__.loader).__name__, importlib.util.find_spec('selectors').name)"
    )
    covered = finished(launch(sys.executable, "-c", body))
    assert covered.stdout == finished([sys.executable, "-c", body]).stdout


def test_socket_as_a_program_and_reloaded(tmp_path: Path) -> None:
    assert finished(launch(sys.executable, "-m", "socket")).returncode == 0
    source = (
        "import importlib, socket\n"
        "first = socket.socket\n"
        "importlib.reload(socket)\n"
        "assert first is not socket.socket\n"
        "print('accept' in str(socket.socket.accept), hasattr(socket.socket.listen, '__code__'))\n"
    )
    assert run_script(source, tmp_path) == "True True\n"


def test_the_users_own_sitecustomize_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("mine = __name__, __file__\n", encoding="utf-8")
    body = "import sitecustomize; print(*sitecustomize.mine)"
    done = finished(
        launch(sys.executable, "-c", body), env=clean_environment(PYTHONPATH=str(tmp_path))
    )
    assert done.stdout == f"sitecustomize {tmp_path / 'sitecustomize.py'}\n"


def test_a_broken_one_fails_as_it_does_without(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("1 / 0\n", encoding="utf-8")
    env = clean_environment(PYTHONPATH=str(tmp_path))
    done = finished(launch(sys.executable, "-c", "print('on')"), env=env)
    without = finished([sys.executable, "-c", "print('on')"], env=env)
    assert done.stdout == without.stdout == "on\n"
    assert "ZeroDivisionError: division by zero" in done.stderr


def test_a_child_of_another_environment_or_version_is_left_alone() -> None:
    env = clean_environment(DSADAPTER_RUN="3.2 /nowhere")
    body = "import socket; print(hasattr(socket.socket.listen, '__code__'))"
    outer = finished(launch(sys.executable, "-c", "import os; print(os.environ['PYTHONPATH'])"))
    done = finished([sys.executable, "-c", body], env=env | {"PYTHONPATH": outer.stdout.strip()})
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("subprocess.run([sys.executable, '-I', '-c', ''])", "-I isolates Python"),
        ("subprocess.run([sys.executable, '-c', ''], env={})", "its environment leaves out"),
        ("os.execv(sys.executable, [sys.executable, '-E', '-c', ''])", "-E has Python ignore"),
        ("os.execve(sys.executable, ['python', '-c', ''], {})", "its environment leaves out"),
        (
            "os.waitpid(os.posix_spawn(sys.executable, ['python', '-S', '-c', ''], os.environ), 0)",
            "-S has Python import no sitecustomize",
        ),
    ],
)
def test_a_child_that_is_kept_out_is_said(start: str, says: str) -> None:
    done = finished(launch(sys.executable, "-c", f"import os, subprocess, sys; {start}"))
    (line,) = said(done)
    assert line.startswith("a child is not covered: ")
    assert says in line


def test_children_that_are_covered_or_none_of_ours_are_not_mentioned() -> None:
    body = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', '']); "
        "subprocess.run(['true']); subprocess.run('true', shell=True); "
        "subprocess.run([sys.executable, '-sm', 'this'], stdout=subprocess.DEVNULL)"
    )
    assert said(finished(launch(sys.executable, "-c", body))) == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_are_covered(tmp_path: Path, method: str) -> None:
    source = (
        "import multiprocessing, socket\n"
        "def look(): print(hasattr(socket.socket.listen, '__code__'), flush=True)\n"
        "if __name__ == '__main__':\n"
        f"    worker = multiprocessing.get_context({method!r}).Process(target=look)\n"
        "    worker.start()\n"
        "    worker.join()\n"
    )
    assert run_script(source, tmp_path) == "True\n"


def test_a_program_that_has_nothing_to_do_with_sockets() -> None:
    body = "import sys; print(sys.argv, sys.flags.isolated, len(sys.path), sys.orig_argv[1:])"
    without = finished([sys.executable, "-c", body], env=clean_environment(PYTHONPATH="/x"))
    covered = finished(launch(sys.executable, "-c", body))
    assert covered.stdout == without.stdout
