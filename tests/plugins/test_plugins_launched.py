"""The egress example and the Prometheus plugin under ``dsadapter run``, before uvicorn."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.builds import Distributions, build, environment_with
from support.environments import Environment, clean_environment
from support.programs import FAMILIES, LOOPBACK, curl, free_port, serving, until, until_logged

APPLICATION = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    try:
        _, writer = await asyncio.open_connection("::ffff:127.0.0.1", 9)
        writer.close()
        said = "connected"
    except OSError as error:
        said = f"{type(error).__name__} {error}"
    body = f"{scope['client'][0]} {said}\\n".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    folder = tmp_path_factory.mktemp("launched")
    made = environment_with("plugins/dsadapter-prometheus", distributions, folder / "prometheus")
    build(distributions.source / "examples" / "plugin_egress", folder / "egress", "--wheel")
    (egress,) = (folder / "egress").glob("*.whl")
    made.install(egress, "uvicorn", "uvloop")
    return made


# On uvloop they connect by the functions of asyncio's adapter.
@pytest.mark.parametrize(("loop", "framework"), [("asyncio", "socket"), ("uvloop", "asyncio")])
def test_they_hold_under_uvicorn(
    environment: Environment, tmp_path: Path, loop: str, framework: str
) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)
    metrics = free_port()
    variables = clean_environment(DSADAPTER_PROMETHEUS_LISTEN=f"127.0.0.1:{metrics}")
    program = [environment.program("dsadapter"), "run", "--", environment.program("uvicorn")]
    options = ["--loop", loop, "--host", "::", "application:app"]
    with serving(
        lambda port: [*program, "--port", str(port), *options], cwd=tmp_path, env=variables
    ) as (server, port):
        until_logged("Uvicorn running", server)
        for family in FAMILIES:
            answer = curl(family, port, "-H", "Connection: close")
            assert f"{LOOPBACK[family]} PermissionError " in answer
            assert "127.0.0.1 is not a public address" in answer
        labels = f'framework="socket",listener="[::]:{port}"'
        wanted = {
            'dsadapter_listeners_open{framework="socket",mode="dual-stack"} 1.0',
            f'dsadapter_translations_total{{direction="inbound",{labels}}} 1.0',
        }
        for family in "ipv4", "ipv6":
            which = f'{{direction="inbound",family="{family}",{labels}}}'
            wanted |= {
                f"dsadapter_connections_total{which} 1.0",
                f"dsadapter_connections_open{which} 0.0",
            }
        until(lambda: wanted <= {*curl("-4", metrics).splitlines()}, server)
        refused = f'dsadapter_refusals_total{{framework="{framework}",operation="connect",'
        assert f'{refused}plugin="egress"}} 2.0' in curl("-4", metrics)
