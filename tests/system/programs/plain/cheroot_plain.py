import sys

from application import wsgi as application
from cheroot import wsgi

server = wsgi.Server(("::", int(sys.argv[1])), application)
try:
    server.start()
except KeyboardInterrupt:
    server.stop()
