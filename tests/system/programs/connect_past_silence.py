"""Connects a few times to a name whose first address is silent; prints the best time and the peer.

``connect_past_silence.py LOOP HOST PORT``
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from dsadapter.frameworks.asyncio import open_connection


async def main(host: str, port: int) -> None:
    times: list[float] = []
    for _ in range(3):
        start = time.monotonic()
        _, writer = await open_connection(host, port, remember_outcomes=False)
        times.append(time.monotonic() - start)
        peer = writer.get_extra_info("peername")
        writer.close()
    print(json.dumps({"best": min(times), "peer": peer}), flush=True)


loop, host, port = sys.argv[1:]
factory: Any = None
if loop == "uvloop":
    import uvloop

    factory = uvloop.new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main(host, int(port)))
