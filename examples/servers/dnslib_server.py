from socketserver import ThreadingTCPServer, ThreadingUDPServer

from dnslib import QTYPE, RR, TXT
from dnslib.server import BaseResolver, DNSServer

from dsadapter.frameworks.blocking import DualStackMixin


class UDPServer(DualStackMixin, ThreadingUDPServer):
    pass


class TCPServer(DualStackMixin, ThreadingTCPServer):
    allow_reuse_address = True


class Resolver(BaseResolver):
    def resolve(self, request, handler):
        reply = request.reply()
        answer = TXT(f"hello {handler.client_address[0]}")
        reply.add_answer(RR(request.q.qname, QTYPE.TXT, rdata=answer))
        return reply


udp = DNSServer(Resolver(), address="::", port=8080, server=UDPServer)
udp.start_thread()
DNSServer(Resolver(), address="::", port=8080, tcp=True, server=TCPServer).start()
