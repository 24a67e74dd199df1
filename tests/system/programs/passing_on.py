"""Opens a pair of sockets, starts a server that gets them, and keeps them: as systemd does.

``passing_on.py keep|hide COMMAND...``: then runs a command with ``PID`` replaced by the server's
process, and ends with its status. ``hide`` keeps others from seeing it.
"""

import ctypes
import os
import socket
import subprocess
import sys

SERVER = os.path.join(os.path.dirname(__file__), "line_server.py")
how, *command = sys.argv[1:]
ipv4 = socket.create_server(("0.0.0.0", 8080))
ipv6 = socket.create_server(("::", 8080), family=socket.AF_INET6)
numbers = [ipv4.fileno(), ipv6.fileno()]
words = [sys.executable, SERVER, "8080", *(f"fd={number}" for number in numbers)]
with subprocess.Popen(words, pass_fds=numbers, stdout=subprocess.PIPE) as server:
    server.stdout.readline()
    if how == "hide":
        PR_SET_DUMPABLE = 4
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)
    replaced = [str(server.pid) if word == "PID" else word for word in command]
    status = subprocess.run(replaced).returncode
    server.kill()
sys.exit(status)
