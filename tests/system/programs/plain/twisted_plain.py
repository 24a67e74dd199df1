import sys

from twisted.internet import reactor
from twisted.python import log
from twisted.web import resource, server


class Hello(resource.Resource):
    isLeaf = True

    def render_GET(self, request):
        peer, here = request.transport.getPeer(), request.transport.getHost()
        return f"hello {peer.host} from {here.host} {type(peer).__name__}\n".encode()


log.startLogging(sys.stdout)
reactor.listenTCP(int(sys.argv[1]), server.Site(Hello()), interface="::")
reactor.run()
