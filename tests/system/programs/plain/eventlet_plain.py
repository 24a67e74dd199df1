import eventlet

eventlet.monkey_patch()

import socket
import sys

from application import wsgi as application
from eventlet import wsgi

wsgi.server(eventlet.listen(("::", int(sys.argv[1])), socket.AF_INET6), application)
