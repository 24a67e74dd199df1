"""A million datagrams, each of them accounted for."""

from __future__ import annotations

import sys
from pathlib import Path

from support.processes import running, running_command

SERVER = Path(__file__).parents[1] / "integration" / "servers" / "datagram_counter.py"
EACH = 500_000
SENDER = """
import socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
client.connect((host, port))
for number in range(count):
    client.send(number.to_bytes(4, "big") + bytes(60))
"""
HOSTS = ("127.0.0.1", "::1")


def test_a_million_datagrams_are_received_or_reported_by_the_kernel() -> None:
    with running(SERVER) as server:
        port = server.event()["port"]
        for host in HOSTS:
            command = [sys.executable, "-c", SENDER, host, str(port), str(EACH)]
            with running_command(command) as sender:
                assert sender.process.wait(timeout=120) == 0, sender.log()
        accounted = before = -1
        # What waits in the buffer is received meanwhile: the sum can but grow.
        while accounted < len(HOSTS) * EACH:
            server.say("report")
            report = server.event()
            accounted = report["received"] + report["dropped_by_kernel"]
            assert accounted > before or accounted == len(HOSTS) * EACH, report
            before = accounted
        server.say("end")
        server.process.wait(timeout=60)
    assert accounted == len(HOSTS) * EACH
    assert report["received"] == sum(report["by_host"].values())
    assert set(report["by_host"]) == set(HOSTS)
    assert report["disorder"] == 0
    for name in ("forged", "truncated", "without_packet_info", "unanswerable"):
        assert report[name] == 0
