from application import wsgi
from django.conf import settings
from django.core.servers.basehttp import WSGIServer, run

from dsadapter.sockets.listening import listening_socket


class ReadyServer(WSGIServer):
    def server_bind(self):
        self.socket.close()
        self.socket = sock
        self.server_name, self.server_port = sock.getsockname()[:2]
        self.setup_environ()


# In a project: settings from DJANGO_SETTINGS_MODULE, application from get_wsgi_application().
settings.configure()
with listening_socket("::", 8080) as sock:
    run("::", 8080, wsgi, threading=True, server_cls=ReadyServer)
