from application import wsgi
from werkzeug.serving import make_server

from dsadapter.sockets.listening import listening_socket

with listening_socket("::", 8080) as sock:
    server = make_server("::", 8080, wsgi, threaded=True, fd=sock.fileno())
    # It has made a socket of its own of the bare descriptor.
    server.socket.close()
    server.socket = sock
    server.serve_forever()
