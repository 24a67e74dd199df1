from application import wsgi
from gevent.pywsgi import WSGIServer

from dsadapter.sockets.listening import listening_socket

sock = listening_socket("::", 8080)
sock.setblocking(False)
WSGIServer(sock, wsgi).serve_forever()
