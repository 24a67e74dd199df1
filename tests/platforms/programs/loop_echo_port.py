"""As ``echo_port.py``, by asyncio alone: ``loop_echo_port.py LOOP``.

LOOP is ``proactor`` or ``selector``. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import sys
from typing import Any

from dsadapter.frameworks.asyncio import create_datagram_endpoint

LOOPS = {"proactor": "ProactorEventLoop", "selector": "SelectorEventLoop"}


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def packet_received(self, data: bytes, addr: Any, info: Any) -> None:
        if data == b"counters":
            tell(counters=dataclasses.asdict(self.transport.counters))
            return
        arrived = info and {"destination": info.destination, "interface": info.interface_index}
        tell(data=data.decode(), peer=list(addr[:2]), info=arrived)
        self.transport.sendto(data, addr)


async def main() -> None:
    transport, _ = await create_datagram_endpoint(Echo)
    tell(port=transport.get_extra_info("sockname")[1], mode="dual-stack")
    await asyncio.to_thread(sys.stdin.read)
    transport.close()


logging.basicConfig(stream=sys.stdout)
with asyncio.Runner(loop_factory=getattr(asyncio, LOOPS[sys.argv[1]])) as runner:
    runner.run(main())
