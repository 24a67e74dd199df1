import waitress
from application import wsgi

from dsadapter.sockets.listening import listening_socket

with listening_socket("::", 8080) as sock:
    waitress.serve(wsgi, sockets=[sock])
