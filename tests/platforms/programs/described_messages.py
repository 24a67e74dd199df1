"""What is given to ``WSASendMsg``, as a library says it: ``described_messages.py LIBRARY``.

Wine reads no control data there, so what is built is looked at before it is sent.
"""

from __future__ import annotations

import ctypes
import json
import socket
import sys

from dsadapter.packetinfo import _windows
from dsadapter.sockets.control_messages import join
from dsadapter.sockets.winsock import Outgoing, pack_name

library = ctypes.CDLL(sys.argv[1])
text = ctypes.create_string_buffer(4096)
outgoing = Outgoing()
INET, INET6 = int(socket.AF_INET), int(socket.AF_INET6)
IPV4, IPV6 = socket.inet_aton("127.0.0.2"), socket.inet_pton(socket.AF_INET6, "2001:db8::2")

for family, ipv4, source, interface, address in (
    (INET, True, IPV4, 3, ("192.0.2.1", 53)),
    (INET6, True, IPV4, 0, ("::ffff:192.0.2.1", 53, 0, 0)),
    (INET6, False, IPV6, 7, ("fe80::1", 53, 0, 7)),
    (INET6, False, None, 7, ("ff02::1", 53, 0, 7)),
    (INET6, True, None, 0, ("::ffff:192.0.2.1", 53, 0, 0)),
):
    control = join(_windows.source_messages(family, ipv4, source, interface))
    name, data = pack_name(family, address), b"hello"
    library.describe(ctypes.byref(outgoing.filled(data, control, name)), text)
    print(json.dumps({"said": text.value.decode().splitlines()}), flush=True)
