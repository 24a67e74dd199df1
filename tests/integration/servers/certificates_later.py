"""Serve TLS from an empty directory, to which certificates come before the first client does.

    python certificates_later.py DIRECTORY FILE...

Prints one JSON object: what came of the client's handshake. The kernel ends this process
(``SIGXCPU``) if that takes a second of its time; on Windows the test's patience does.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

from support.certificates import in_string
from support.listeners import RecordingFactory
from support.processes import PATIENCE
from support.reactors import Reactor
from twisted.internet.endpoints import serverFromString

if sys.platform != "win32":
    import resource

directory, *files = sys.argv[1:]
reactor = Reactor()
endpoint = serverFromString(reactor, f"dualstack:0:tls={in_string(Path(directory))}")
port: Any = reactor.result_of(endpoint.listen(RecordingFactory()))
for file in files:
    shutil.copy(file, directory)
outcome: list[str] = []


def client() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port.getHost().port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="a.example"),
        ):
            outcome.append("served")
    except OSError as error:
        outcome.append(f"refused: {error}")


if sys.platform != "win32":
    spent = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(spent.ru_utime + spent.ru_stime) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
thread = threading.Thread(target=client, daemon=True)
thread.start()
deadline = time.monotonic() + PATIENCE
while not outcome and time.monotonic() < deadline:
    reactor.iterate(0.05)
print(json.dumps({"outcome": outcome}), flush=True)
