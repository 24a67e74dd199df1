"""Parse an endpoint string and print the error and what was done with sockets meanwhile."""

import json
import sys

from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString, serverFromString

kind, description = sys.argv[1:]
events = []
sys.addaudithook(lambda event, _: events.append(event) if event.startswith("socket.") else None)
try:
    {"client": clientFromString, "server": serverFromString}[kind](reactor, description)
except Exception as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error), "events": events}))
