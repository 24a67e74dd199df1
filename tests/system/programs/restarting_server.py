"""A server that is restarted as ``docs/processes.md`` has it.

    python restarting_server.py PAGE NAME PORT

Answers each connection with NAME. Whatever listens on PORT before hands over to it; on SIGUSR1 it
hands over itself, and ends when its connections have. Prints a JSON object with its port and its
capabilities.
"""

import json
import re
import signal
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

page, name, number = sys.argv[1:]
restarting = Path(page).read_text().partition("## Restarting")[2]
steering, draining = re.findall(r"(?ms)^```python\n(.*?)^```", restarting)[:2]


class Answer(Protocol):
    def connectionMade(self):
        self.transport.write(name.encode())
        self.transport.loseConnection()


class Answering(Factory):
    noisy = False
    protocol = Answer

    def doStop(self):
        super().doStop()
        # What was written last goes out in the turns to come.
        reactor.callLater(0.1, reactor.stop)


def listening(port):
    def drain(*_signal):
        reactor.callFromThread(exec, draining, {"port": port})

    signal.signal(signal.SIGUSR1, drain)
    if number != "0":
        exec(steering, {"port": port})
    [rights] = re.findall(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())
    print(json.dumps({"port": port.getHost().port, "rights": int(rights, 16)}), flush=True)


endpoint = serverFromString(reactor, f"dualstack:{number}:reusePort=yes")
endpoint.listen(Answering()).addCallback(listening)
reactor.run()
