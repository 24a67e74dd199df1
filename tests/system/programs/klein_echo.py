"""A Klein application that answers with the addresses that it sees."""

import json
import sys

from klein import Klein

app = Klein()


@app.route("/")
def echo(request):
    """Show the addresses of the connection and of its server."""
    addresses = {
        "client": request.getClientAddress(),
        "server": request.getHost(),
        "transport": request.transport.getPeer(),
    }
    return json.dumps({name: [type(a).__name__, a.host] for name, a in addresses.items()})


app.run(endpoint_description=sys.argv[1])
