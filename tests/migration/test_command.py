"""The commands as a user types them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from migration.cases import REACTOR
from support.environments import clean_environment

PAIR = REACTOR + "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')\n"
SINGLE = REACTOR + "reactor.listenTCP(80, factory, interface='::')\n"
UNSURE = PAIR + "a = h.startswith('::ffff:127.')\n"


def dsadapter(*arguments: str | Path, cwd: Path | None = None, **env: str):
    return subprocess.run(
        [sys.executable, "-m", "dsadapter", *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(**env),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def applied(diff: str, text: str) -> str:
    """A text with a unified diff applied, as patch(1) does it."""
    lines, result, place = text.splitlines(keepends=True), [], 0
    for line in diff.splitlines(keepends=True)[2:]:
        if line.startswith("@@"):
            start = int(line.split()[1].partition(",")[0].removeprefix("-")) - 1
            result += lines[place:start]
            place = start
        elif line.startswith("+"):
            result.append(line[1:])
        else:
            assert lines[place] == line[1:]
            if line.startswith(" "):
                result.append(line[1:])
            place += 1
    return "".join(result + lines[place:])


class TestScan:
    def test_nothing_found_is_0(self, tmp_path):
        write(tmp_path / "a.py", "print('::')\n")
        done = dsadapter("scan", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "nothing found; 1 file looked at\n"

    def test_something_found_is_1(self, tmp_path):
        file = write(tmp_path / "a.py", PAIR)
        done = dsadapter("scan", tmp_path)
        assert done.returncode == 1
        first, *_, last = done.stdout.splitlines()
        assert first.startswith(f"{file}:3:1: P1 certain  ")
        assert last == "1 finding in 1 file: 1 certain; 1 file looked at"

    def test_what_is_not_there_is_2(self, tmp_path):
        done = dsadapter("scan", "nowhere", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr == (
            "dsadapter scan: there is no file or folder 'nowhere'; name one that exists\n"
        )

    def test_zero_files_is_0(self, tmp_path):
        """As pre-commit calls it when nothing that it looks at was changed."""
        assert dsadapter("scan", cwd=tmp_path).returncode == 0

    def test_a_file_that_does_not_parse_is_counted_and_the_scan_goes_on(self, tmp_path):
        write(tmp_path / "a.py", "print 'listenTCP'\n")
        write(tmp_path / "b.py", SINGLE)
        done = dsadapter("scan", tmp_path)
        assert done.returncode == 1
        assert f"{tmp_path / 'a.py'}:1: not looked at: " in done.stdout
        assert "P16 likely" in done.stdout
        assert "2 files looked at; 1 could not be" in done.stdout

    def test_nothing_but_files_that_do_not_parse_is_2(self, tmp_path):
        write(tmp_path / "a.py", "print 'listenTCP'\n")
        assert dsadapter("scan", tmp_path).returncode == 2

    def test_what_is_only_possible_is_shown_on_request(self, tmp_path):
        write(tmp_path / "a.py", "a = '::ffff:' + host\n")
        hidden = dsadapter("scan", tmp_path)
        assert hidden.returncode == 0
        assert "1 only possible (--all)" in hidden.stdout
        shown = dsadapter("scan", "--all", tmp_path)
        assert shown.returncode == 1
        assert "P12 possible" in shown.stdout

    def test_tests_and_copies_are_passed_over_and_counted(self, tmp_path):
        for folder in ("tests", "vendor", ".venv", "node_modules"):
            (tmp_path / folder).mkdir()
            write(tmp_path / folder / "a.py", SINGLE)
        done = dsadapter("scan", tmp_path)
        assert done.returncode == 0
        assert "2 of tests and copies passed over (--with-tests)" in done.stdout
        assert dsadapter("scan", "--with-tests", tmp_path).stdout.count("P16 likely") == 2

    def test_a_test_that_is_named_is_looked_at(self, tmp_path):
        file = write(tmp_path / "test_a.py", SINGLE)
        assert dsadapter("scan", file).returncode == 1

    def test_a_comment_silences_a_pattern_on_its_line(self, tmp_path):
        write(tmp_path / "a.py", SINGLE.rstrip() + "  # dsadapter: ignore[P16]\n")
        done = dsadapter("scan", tmp_path)
        assert done.returncode == 0
        assert done.stdout == "nothing found; 1 file looked at; 1 ignored by comments\n"

    def test_a_comment_on_the_second_listener_silences_the_pair(self, tmp_path):
        write(tmp_path / "a.py", PAIR.rstrip() + "  # dsadapter: ignore[P1]\n")
        done = dsadapter("scan", tmp_path)
        assert done.returncode == 0
        assert "1 ignored by comments" in done.stdout

    @pytest.mark.parametrize(
        ("comment", "what"),
        [("ignore[P3]", "P3 is not found here"), ("ignore", "it names no pattern")],
    )
    def test_a_comment_without_effect_is_reported(self, tmp_path, comment, what):
        write(tmp_path / "a.py", f"x = 1  # dsadapter: {comment}\n")
        done = dsadapter("scan", tmp_path)
        assert done.returncode == 1
        assert what in done.stdout

    def test_a_text_that_looks_like_a_comment_is_none(self, tmp_path):
        write(tmp_path / "a.py", "x = '# dsadapter: ignore[P3]'\n")
        assert dsadapter("scan", tmp_path).returncode == 0

    def test_json(self, tmp_path):
        write(tmp_path / "a.py", PAIR)
        done = dsadapter("scan", "--format", "json", "a.py", cwd=tmp_path)
        assert done.returncode == 1
        report = json.loads(done.stdout)
        (finding,) = report["findings"]
        assert finding["path"] == "a.py"
        assert (finding["line"], finding["column"]) == (3, 1)
        assert (finding["pattern"], finding["certainty"]) == ("P1", "certain")
        assert finding["replacement"].startswith('strports.service("dualstack:80"')
        assert report["failures"] == []

    def test_names_and_texts_steer_no_terminal(self, tmp_path):
        write(tmp_path / "a\x1b[31m.py", SINGLE)
        assert "\x1b" not in dsadapter("scan", tmp_path).stdout

    def test_no_colors_in_a_pipe(self, tmp_path):
        write(tmp_path / "a.py", SINGLE)
        assert "\x1b" not in dsadapter("scan", tmp_path, TERM="xterm-256color").stdout

    def test_a_pipe_keeps_nobody_waiting(self, tmp_path):
        os.mkfifo(tmp_path / "a.py")
        done = dsadapter("scan", tmp_path)
        assert done.returncode == 2
        assert "not looked at: it is no regular file" in done.stdout


class TestSarif:
    @pytest.fixture
    def run(self, tmp_path):
        (tmp_path / "a folder").mkdir()
        write(tmp_path / "a folder" / "a.py", PAIR)
        write(tmp_path / "b.py", "print 'listenTCP'\n")
        write(tmp_path / "a folder" / "c.py", SINGLE.rstrip() + "  # dsadapter: ignore[P16]\n")
        done = dsadapter("scan", "--format", "sarif", ".", cwd=tmp_path)
        assert done.returncode == 1
        log = json.loads(done.stdout)
        assert log["version"] == "2.1.0"
        (run,) = log["runs"]
        return run

    def test_every_rule_that_is_used_is_described(self, run):
        driver = run["tool"]["driver"]
        assert driver["name"] == "dsadapter"
        assert [rule["id"] for rule in driver["rules"]] == ["P1", "P16"]
        for rule in driver["rules"]:
            for text in ("shortDescription", "fullDescription", "help"):
                assert rule[text]["text"]
        for result in run["results"]:
            assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]

    def test_places_are_relative_and_count_from_1(self, run):
        result = run["results"][0]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"] == {"uri": "a%20folder/a.py"}
        assert (place["region"]["startLine"], place["region"]["startColumn"]) == (3, 1)
        assert result["message"]["text"]
        assert result["level"] == "warning"
        assert result["properties"]["certainty"] == "certain"

    def test_it_makes_no_fingerprint(self, run):
        """A code host makes them from the source; one of a line number comes and goes."""
        assert not any("partialFingerprints" in result for result in run["results"])

    def test_what_a_comment_suppresses_is_marked(self, run):
        assert run["results"][1]["suppressions"] == [{"kind": "inSource"}]

    def test_a_file_that_failed_is_a_notification(self, run):
        (invocation,) = run["invocations"]
        assert invocation["executionSuccessful"] is False
        (notification,) = invocation["toolExecutionNotifications"]
        place = notification["locations"][0]["physicalLocation"]
        assert place["artifactLocation"] == {"uri": "b.py"}
        assert place["region"] == {"startLine": 1}


class TestMigrate:
    def test_a_diff_by_default(self, tmp_path):
        file = write(tmp_path / "a.py", PAIR)
        done = dsadapter("migrate", "a.py", cwd=tmp_path)
        assert done.returncode == 1
        assert file.read_bytes() == PAIR.encode()
        assert done.stdout.startswith("--- a/a.py\n+++ b/a.py\n")
        assert '+strports.service("dualstack:80", factory).startService()\n' in done.stdout
        assert "1 file would change: --write changes them\n" in done.stderr

    def test_the_diff_can_be_applied(self, tmp_path):
        file = write(tmp_path / "a.py", PAIR)
        diff = dsadapter("migrate", "a.py", cwd=tmp_path).stdout
        dsadapter("migrate", "--write", file)
        assert file.read_text() == applied(diff, PAIR)

    def test_write_says_what_the_project_needs(self, tmp_path):
        file = write(tmp_path / "a.py", PAIR)
        done = dsadapter("migrate", "--write", tmp_path)
        assert done.returncode == 1
        assert b"dualstack:80" in file.read_bytes()
        assert "1 file changed\n" in done.stderr
        assert "add to the project's dependencies: dsadapter>=" in done.stderr

    def test_a_second_run_changes_nothing(self, tmp_path):
        file = write(tmp_path / "a.py", PAIR)
        dsadapter("migrate", "--write", tmp_path)
        first = file.read_bytes()
        done = dsadapter("migrate", "--write", tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert file.read_bytes() == first

    def test_other_files_are_not_touched(self, tmp_path):
        write(tmp_path / "a.py", PAIR)
        others = {
            "b.py": "x = 1\r\n\f\r\ny = 2",
            "c.py": UNSURE,
            "d.ini": "port = tcp:80 tcp6:80\r\n",
            "e.py": "print 'listenTCP'\n",
        }
        before = {}
        for name, text in others.items():
            path = write(tmp_path / name, text)
            os.utime(path, (1, 1))
            before[path] = (path.read_bytes(), path.stat().st_mtime, path.stat().st_ino)
        dsadapter("migrate", "--write", tmp_path)
        for path, was in before.items():
            assert (path.read_bytes(), path.stat().st_mtime, path.stat().st_ino) == was

    def test_permissions_and_links_stay(self, tmp_path):
        file = write(tmp_path / "a.py", PAIR)
        file.chmod(0o750)
        link = tmp_path / "link.py"
        link.symlink_to("a.py")
        dsadapter("migrate", "--write", link)
        assert link.is_symlink()
        assert b"dualstack:80" in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o750
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.py", "link.py"]

    def test_a_write_that_fails_leaves_the_file_whole(self, tmp_path):
        """Nobody may write a byte to a file here: as on a disk that is full."""
        file = write(tmp_path / "a.py", PAIR)
        done = subprocess.run(
            [sys.executable, "-m", "dsadapter", "migrate", "--write", str(file)],
            env=clean_environment(PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        )
        assert done.returncode == 2
        assert f"dsadapter migrate: can't write {file}: File too large; " in done.stderr
        assert file.read_bytes() == PAIR.encode()
        assert [path.name for path in tmp_path.iterdir()] == ["a.py"]

    def test_an_unsure_file_is_left_and_counted(self, tmp_path):
        file = write(tmp_path / "a.py", UNSURE)
        done = dsadapter("migrate", "--write", tmp_path)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "2 findings need a decision: dsadapter scan shows them\n"
        assert file.read_bytes() == UNSURE.encode()

    def test_what_this_version_lacks_is_shown_and_not_written(self, tmp_path):
        """Checked with a module that no version has: a program is never made to need one."""
        file = write(
            tmp_path / "a.py",
            "import asyncio\nasync def main():\n"
            "    await asyncio.start_server(serve, ['0.0.0.0', '::'], 80)\n",
        )
        before = file.read_bytes()
        script = (
            "import sys\n"
            "from dsadapter.migration.rewriting import asyncio\n"
            "asyncio.ASYNCIO = 'dsadapter.frameworks.never'\n"
            "from dsadapter.cli import main\n"
            "sys.exit(main(['migrate', '--write', sys.argv[1]]))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(file)],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 1
        assert "+from dsadapter.frameworks.never import start_server" in done.stdout
        assert (
            "is shown, not written: dsadapter.frameworks.never is not in dsadapter" in done.stderr
        )
        assert file.read_bytes() == before

    def test_without_libcst_the_error_names_the_extra(self, tmp_path):
        file = write(tmp_path / "a.py", PAIR)
        script = (
            "import sys\nsys.modules['libcst'] = None\nfrom dsadapter.cli import main\n"
            "sys.exit(main(['migrate', sys.argv[1]]))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(file)],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 2
        assert done.stderr == (
            "dsadapter migrate: rewriting needs libcst: pip install 'dsadapter[migrate]'\n"
        )


class TestManners:
    def test_help_is_short_and_complete(self):
        done = dsadapter("--help")
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) < 30
        for command in ("scan", "migrate"):
            assert command in done.stdout

    def test_the_console_script_is_the_same(self):
        script = Path(sys.executable).with_name("dsadapter")
        done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
        assert done.stdout == dsadapter("--help").stdout

    def test_completion(self):
        done = dsadapter("--print-completion", "bash")
        assert done.returncode == 0
        assert "migrate" in done.stdout
        subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)

    def test_a_reader_that_has_seen_enough_is_no_error(self, tmp_path):
        for number in range(300):
            write(tmp_path / f"{number}.py", SINGLE)
        done = subprocess.run(
            f"{sys.executable} -m dsadapter scan {tmp_path} | head -1",
            shell=True,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert done.stderr == ""
        assert "P16 likely" in done.stdout

    def test_neither_twisted_nor_libcst_is_imported_to_scan(self, tmp_path):
        write(tmp_path / "a.py", SINGLE)
        script = (
            "import sys\nfrom dsadapter.cli import main\nmain(['scan', sys.argv[1]])\n"
            "print({'libcst', 'twisted', 'zope.interface', 'rich'} & set(sys.modules))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert done.stdout.splitlines()[-1] == "set()"


class TestHostileFiles:
    def test_a_name_that_is_not_utf8_is_a_uri(self, tmp_path):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py")).write_text(PAIR)
        done = dsadapter("scan", "--format", "sarif", ".", cwd=tmp_path)
        (run,) = json.loads(done.stdout)["runs"]
        place = run["results"][0]["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "%FF.py"

    def test_a_name_adds_no_line_to_a_diff(self, tmp_path):
        write(tmp_path / "a\n+++ b\x1b[31m.py", PAIR)
        done = dsadapter("migrate", ".", cwd=tmp_path)
        assert done.returncode == 1
        assert "\x1b" not in done.stdout
        assert sum(line.startswith("+++") for line in done.stdout.split("\n")) == 1

    def test_code_too_deep_to_rewrite_is_left_and_said(self, tmp_path):
        text = PAIR + "x = a" + ".b()" * 400 + "\n"
        deep = write(tmp_path / "deep.py", text)
        write(tmp_path / "flat.py", PAIR)
        done = dsadapter("migrate", "--write", tmp_path)
        assert done.returncode == 2
        assert "deep.py is left: its code is nested too deeply" in done.stderr
        assert "Traceback" not in done.stderr
        assert deep.read_text() == text
        assert "dualstack" in (tmp_path / "flat.py").read_text()

    def test_an_output_that_takes_only_ascii(self, tmp_path):
        write(tmp_path / "a.py", "# \u00e9\n" + PAIR)
        done = dsadapter("migrate", tmp_path, PYTHONIOENCODING="ascii")
        assert (done.returncode, "\\xe9" in done.stdout) == (1, True)
        assert "Traceback" not in done.stderr

    def test_a_diff_beside_a_form_feed_can_be_applied(self, tmp_path):
        text = PAIR.replace("factory = make()\n", "factory = make()\n\f\n")
        file = write(tmp_path / "a.py", text)
        diff = dsadapter("migrate", "a.py", cwd=tmp_path).stdout
        dsadapter("migrate", "--write", "a.py", cwd=tmp_path)
        assert "No newline" not in diff
        changes = [line for line in diff.split("\n") if line[:1] in "+-" and line[:3] != "+++"]
        assert " \f" in diff.split("\n")
        assert len([line for line in changes if line.startswith("+")]) == 2
        assert "\f" in file.read_bytes().decode()

    def test_a_script_that_is_named_is_rewritten(self, tmp_path):
        script = write(tmp_path / "server", "#!/usr/bin/env python3\n" + PAIR)
        assert dsadapter("migrate", "--write", script).returncode == 1
        assert "dualstack:80" in script.read_text()

    def test_several_ignore_comments_on_a_line(self, tmp_path):
        comment = "  # dsadapter: ignore[P3] # dsadapter: ignore[P16]\n"
        write(tmp_path / "a.py", SINGLE.replace("'::')\n", "'::')" + comment))
        done = dsadapter("scan", "--format", "json", tmp_path)
        assert [f["pattern"] for f in json.loads(done.stdout)["findings"]] == ["P0"]

    @pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs another user"
    )
    def test_a_folder_that_can_not_be_read_is_not_called_clean(self):
        folder = Path("/tmp", f"dsadapter-unread-{os.getpid()}")
        (folder / "closed").mkdir(parents=True)
        write(folder / "closed" / "a.py", PAIR)
        try:
            (folder / "closed").chmod(0)
            command = ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable]
            for path, reason in ((folder, "closed:0"), (folder / "closed" / "a.py", "can't look")):
                done = subprocess.run(
                    [*command, "-m", "dsadapter", "scan", str(path)],
                    env=clean_environment(),
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=120,
                )
                assert done.returncode == 2
                assert reason in done.stdout + done.stderr
                assert "Traceback" not in done.stderr
        finally:
            shutil.rmtree(folder)
