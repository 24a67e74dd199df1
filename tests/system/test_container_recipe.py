"""The commands of the recipe in ``examples/container``, one by one: no image can be built here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support.builds import CHECKOUT, Distributions
from support.environments import clean_environment, open_to_everybody
from support.namespaces import namespace, needs_root, outside
from support.processes import running_command

RECIPE = CHECKOUT / "examples" / "container" / "Containerfile"
PLACE = "/opt/dsadapter"


def lines(instruction: str) -> list[str]:
    """The arguments of every line with an instruction."""
    found = (line.partition(" ") for line in RECIPE.read_text().splitlines())
    return [rest for name, _, rest in found if name == instruction]


@needs_root
def test_its_commands_make_an_environment_that_serves_where_IPv6_is_off(
    distributions: Distributions, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    # This interpreter is the image's.
    substitutes = {
        "python3 -m": f"{sys.executable} -m",
        "install --no-cache-dir dsadapter": f"install {distributions.wheel}",
        PLACE: str(place),
    }
    for command in lines("RUN"):
        for text, here in substitutes.items():
            command = command.replace(text, here)
        with outside():
            done = subprocess.run(
                ["sh", "-c", command],
                capture_output=True,
                text=True,
                env=clean_environment(),
                cwd="/",
            )
        assert done.returncode == 0, done.stdout + done.stderr
    [cache] = place.glob("lib/python*/site-packages/twisted/plugins/dropin.cache")
    assert b"dsadapter_endpoints" in cache.read_bytes()

    [user], [command] = lines("USER"), lines("CMD")
    uid, gid = user.split(":")
    argv = [word.replace(PLACE, str(place)) for word in json.loads(command)]
    open_to_everybody(tmp_path)
    privileges = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    with namespace() as network:
        for scope in ("all", "default", "lo"):
            network.run("sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")
        # A file system that may not be written to.
        mounts = ["unshare", "--mount", "sh", "-c", 'mount -o bind,ro "$0" "$0" && exec "$@"']
        prefix = [*network.prefix, *mounts, str(place), *privileges]
        with running_command([*prefix, *argv], cwd="/", env=clean_environment()) as server:
            server.wait_for_log(f"starting on {lines('EXPOSE')[0]}")
            page = network.run(
                *("curl", "-sS", "--noproxy", "*", "-4", f"http://127.0.0.1:{lines('EXPOSE')[0]}/")
            )
            server.wait_for_log('"127.0.0.1" - -')
            assert os.stat(f"/proc/{server.process.pid}").st_uid == int(uid)
            log = server.stop()
    assert "Twisted Web" in page
    assert "plugin cache" not in log
