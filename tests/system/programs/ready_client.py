"""Ask a server of the examples that speaks no HTTP: ``ready_client.py NAME ADDRESS PORT``."""

import smtplib
import socket
import sys

name, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
host = f"[{address}]" if ":" in address else address

if name == "websockets":
    from websockets.sync.client import connect

    with connect(f"ws://{host}:{port}", proxy=None) as connection:
        print(connection.recv())
elif name == "aiosmtpd":
    with smtplib.SMTP(address, port) as client:
        print(client.ehlo()[1].decode())
elif name == "dnslib":
    from dnslib import DNSRecord

    for tcp in (False, True):
        question = DNSRecord.question("who.example", "TXT")
        print(DNSRecord.parse(question.send(address, port, tcp=tcp, ipv6=":" in address)).short())
else:
    import paramiko

    transport = paramiko.Transport(socket.create_connection((address, port)))
    transport.start_client()
    transport.auth_none("anybody")
    if name == "paramiko":
        print(transport.get_banner().decode())
    else:
        channel = transport.open_session()
        channel.exec_command("who")
        print(channel.makefile().read().decode())
    transport.close()
