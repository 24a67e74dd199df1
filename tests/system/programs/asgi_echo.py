"""An ASGI application that answers with the addresses that it was given."""

import json


async def app(scope, receive, send):
    """Show the addresses of the connection and of its server."""
    body = json.dumps({"client": scope["client"], "server": scope["server"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
