"""What the servers of this folder serve: an answer that says who asks."""


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"hello {environ['REMOTE_ADDR']}\n".encode()]


async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    body = f"hello {scope['client'][0]} from {scope['server'][0]}\n".encode()
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
