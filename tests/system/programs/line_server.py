"""Answers every line with the client's address: ``line_server.py PORT SHAPE...``.

SHAPE is ``pair``, ``dual``, ``ipv4``, ``ipv6``, ``alone`` (dual, sharing its port with nobody),
``fd=N``, or ``passed``, as by systemd; ``workers=N`` has it fork. With ``graceful`` it answers on
the connections that it has before SIGTERM ends it.
"""

import os
import selectors
import signal
import socket
import sys
import time


def listening(host, port, v6only=None, share=True):
    sock = socket.socket(socket.AF_INET if v6only is None else socket.AF_INET6)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, share)
    if v6only is not None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    sock.bind((host, port))
    sock.listen(1024)
    return sock


def opened(shape, port):
    share = "old" not in sys.argv
    if shape == "pair":
        ipv4 = listening("0.0.0.0", port, share=share)
        return [ipv4, listening("::", port, True, share)]
    if shape == "dual":
        return [listening("::", port, False, share)]
    if shape == "ipv4":
        return [listening("0.0.0.0", port, share=share)]
    if shape == "ipv6":
        return [listening("::", port, True, share)]
    if shape == "alone":
        return [listening("::", port, False, share=False)]
    if shape.startswith("fd="):
        return [socket.socket(fileno=int(shape[3:]))]
    if shape == "passed":
        assert int(os.environ["LISTEN_PID"]) == os.getpid()
        return [socket.socket(fileno=3 + n) for n in range(int(os.environ["LISTEN_FDS"]))]
    return []


def serve(sockets):
    chosen = selectors.DefaultSelector()
    for sock in sockets:
        sock.setblocking(False)
        chosen.register(sock, selectors.EVENT_READ)
    ending = []
    if "graceful" in sys.argv:
        signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    while True:
        events = chosen.select(0.05 if "graceful" in sys.argv else None)
        if ending:
            for sock in sockets:
                chosen.unregister(sock)
            sockets, ending = [], []
            signal.signal(signal.SIGALRM, lambda *_: sys.exit(0))
            signal.setitimer(signal.ITIMER_REAL, 1)
            continue
        for key, _ in events:
            sock = key.fileobj
            try:
                if sock in sockets:
                    accepted, peer = sock.accept()
                    accepted.setblocking(True)
                    chosen.register(accepted, selectors.EVENT_READ, peer[0].removeprefix("::ffff:"))
                elif data := sock.recv(4096):
                    sock.sendall(data.count(b"\n") * f"{key.data}\n".encode())
                else:
                    chosen.unregister(sock)
                    sock.close()
            except BlockingIOError:
                continue
            except ConnectionError:
                chosen.unregister(sock)
                sock.close()


def main():
    port, *shapes = sys.argv[1:]
    sockets = [sock for shape in shapes for sock in opened(shape, int(port))]
    workers = [int(word.split("=")[1]) for word in shapes if word.startswith("workers=")]
    print("listening", flush=True)
    children = []
    for _ in range(sum(workers)):
        child = os.fork()
        if not child:
            serve(sockets)
        children.append(child)
    if not children:
        serve(sockets)

    def end(number, frame):
        for child in children:
            os.kill(child, signal.SIGTERM)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        time.sleep(1)


main()
