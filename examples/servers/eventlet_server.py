import eventlet

eventlet.monkey_patch()

import eventlet.wsgi
from application import wsgi
from eventlet.greenio import GreenSocket

from dsadapter.sockets.listening import listening_socket

with listening_socket("::", 8080) as sock:
    eventlet.wsgi.server(GreenSocket(sock), wsgi)
