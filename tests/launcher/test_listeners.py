"""What becomes of listeners: decided when they listen, and never wider than asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.launched import finished, launch, run_script, said

START = """
import os, socket, sys
IPV6 = socket.IPPROTO_IPV6

def bound(host, port=0, v6only=1, reuse=1):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    if family == socket.AF_INET6:
        sock.setsockopt(IPV6, socket.IPV6_V6ONLY, v6only)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    sock.bind((host, port))
    return sock

def port_of(sock):
    return sock.getsockname()[1]

def v6only(sock):
    return sock.getsockopt(IPV6, socket.IPV6_V6ONLY)

def reached(sock, *hosts):
    # Which clients are accepted, and as whom.
    peers = []
    for host in hosts or ("127.0.0.1", "::1"):
        try:
            client = socket.create_connection((host, port_of(sock)), timeout=10)
        except ConnectionRefusedError:
            continue
        with client:
            sock.settimeout(10)
            accepted, name = sock.accept()
            with accepted:
                assert name == accepted.getpeername() == client.getsockname(), name
                assert accepted.getsockname() == client.getpeername()
                peers.append(name[0])
    return peers
"""


def of(source: str, folder: Path, *options: str) -> str:
    return run_script(START + source, folder, options=options)


BOTH = "['127.0.0.1', '::1']\n"
ONE = "['::1']\n"


def test_an_ipv6_listener_is_widened(tmp_path: Path) -> None:
    source = (
        "sock = bound('::'); port = port_of(sock); fd = sock.fileno(); sock.listen()\n"
        "assert (sock.fileno(), port_of(sock), os.get_inheritable(fd)) == (fd, port, False)\n"
        "print(reached(sock))"
    )
    assert of(source, tmp_path) == BOTH


def test_without_the_launcher_it_is_not(tmp_path: Path) -> None:
    import sys

    path = tmp_path / "script.py"
    path.write_text(START + "sock = bound('::'); sock.listen(); print(reached(sock))")
    assert finished([sys.executable, str(path)]).stdout == ONE


def test_one_without_reuse_of_the_address(tmp_path: Path) -> None:
    assert of("sock = bound('::', reuse=0); sock.listen(); print(reached(sock))", tmp_path) == BOTH


def test_one_that_is_not_bound_yet(tmp_path: Path) -> None:
    source = (
        "sock = socket.socket(socket.AF_INET6); sock.setsockopt(IPV6, socket.IPV6_V6ONLY, 1)\n"
        "sock.listen(); print(reached(sock))"
    )
    assert of(source, tmp_path) == BOTH


def test_one_that_serves_both_already_has_its_names_translated(tmp_path: Path) -> None:
    source = "sock = bound('::', v6only=0); sock.listen(); print(reached(sock))"
    assert of(source, tmp_path) == BOTH


def test_options_are_kept(tmp_path: Path) -> None:
    source = """
sock = bound('::')
chosen = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1),
    (socket.SOL_SOCKET, socket.SO_RCVBUF, 30000),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77),
    (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 3),
    (socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5),
    (IPV6, socket.IPV6_UNICAST_HOPS, 9),
]
for option in chosen:
    sock.setsockopt(*option)
def read():
    return [sock.getsockopt(level, number) for level, number, _ in chosen]
before = read()
sock.setblocking(False)
os.set_inheritable(sock.fileno(), True)
sock.listen(7)
assert v6only(sock) == 0
assert read() == before, (read(), before)
print(os.get_blocking(sock.fileno()), sock.gettimeout(), os.get_inheritable(sock.fileno()))
"""
    assert of(source, tmp_path) == "False 0.0 True\n"


@pytest.mark.parametrize("order", ["ipv4 first", "ipv6 first", "bound first"])
def test_a_pair_stays_a_pair(tmp_path: Path, order: str) -> None:
    opening = {
        "ipv4 first": "four = bound('0.0.0.0'); four.listen(); six = bound('::', port_of(four)); "
        "six.listen()",
        "ipv6 first": "six = bound('::'); six.listen(); four = bound('0.0.0.0', port_of(six)); "
        "four.listen()",
        "bound first": "six = bound('::'); four = bound('0.0.0.0', port_of(six)); six.listen(); "
        "four.listen()",
    }[order]
    source = f"{opening}\nprint(reached(six, '::1'), reached(four, '127.0.0.1'))"
    assert of(source, tmp_path) == "['::1'] ['127.0.0.1']\n"


def test_a_pair_shares_its_port_with_nobody(tmp_path: Path) -> None:
    source = """
six = bound('::'); six.listen()
probe = bound('127.0.0.1', port_of(six)); probe.close()
four = bound('0.0.0.0', port_of(six)); four.listen()
for sock in six, four:
    print(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
"""
    assert of(source, tmp_path) == "0\n0\n"


def test_a_pair_with_one_ipv4_address_stays_a_pair(tmp_path: Path) -> None:
    source = (
        "six = bound('::'); six.listen(); four = bound('127.0.0.1', port_of(six)); four.listen()\n"
        "print(reached(four, '127.0.0.1'))"
    )
    assert of(source, tmp_path) == "['127.0.0.1']\n"


def test_a_port_whose_ipv4_half_another_process_has_stays_as_it_is(tmp_path: Path) -> None:
    source = """
four = bound('0.0.0.0')
four.listen()
port = port_of(four)
if os.fork() == 0:
    four.close()
    six = bound('::', port)
    six.listen()
    print(v6only(six), reached(six, '::1'), flush=True)
    os._exit(0)
assert os.wait()[1] == 0
"""
    done = finished(
        launch("-c", START + source, options=("--explain",)),
    )
    assert done.stdout == "1 ['::1']\n", done.stderr
    assert any("stays IPv6 only: Address already in use" in line for line in said(done))


def test_specific_addresses_are_never_widened(tmp_path: Path) -> None:
    source = "for host in '::1', '127.0.0.1':\n    s = bound(host); s.listen(); print(reached(s))"
    assert of(source, tmp_path) == "['::1']\n['127.0.0.1']\n"


def test_ipv4_listeners_are_widened_when_asked_for(tmp_path: Path) -> None:
    source = "sock = bound('0.0.0.0'); sock.settimeout(5); sock.listen(); print(reached(sock))"
    assert of(source, tmp_path) == "['127.0.0.1']\n"
    source += "; print(sock.family == socket.AF_INET6)"
    assert of(source, tmp_path, "--widen") == BOTH + "True\n"


@pytest.mark.parametrize(("chosen", "seen"), [("--only", BOTH + ONE), ("--except", ONE + BOTH)])
def test_ports_are_chosen(tmp_path: Path, chosen: str, seen: str) -> None:
    from support.programs import free_port

    first, second = free_port(), free_port()
    source = (
        "for port in sys.argv[1:]:\n"
        "    sock = bound('::', int(port)); sock.listen(); print(reached(sock))"
    )
    out = run_script(
        START + source, tmp_path, str(first), str(second), options=(f"{chosen}={first}",)
    )
    assert out == seen


def test_listeners_are_explained_at_exit_and_in_a_file(tmp_path: Path) -> None:
    source = START + (
        "sock = bound('::'); sock.listen(); reached(sock); four = bound('0.0.0.0'); four.listen()\n"
        "print(port_of(sock), port_of(four))"
    )
    done = finished(launch("-c", source, options=("--explain",)))
    six, four = done.stdout.split()
    rows = [line.split() for line in said(done)]
    assert ["listener", f"[::]:{six}", "dual-stack", "widened", "1"] in [row[:5] for row in rows]
    assert ["listener", f"0.0.0.0:{four}", "ipv4", "left", "0"] in [row[:5] for row in rows]
    assert said(done)[-1].startswith("covered: socket, dsadapter")
    listing = tmp_path / "listeners.json"
    done = finished(launch("-c", source, options=(f"--explain={listing}",)))
    six, four = done.stdout.split()
    rows = [json.loads(line) for line in listing.read_text().splitlines()]
    assert [(row["address"], row["serves"], row["done"], row["ipv4"]) for row in rows] == [
        (f"[::]:{six}", "dual-stack", "widened", 0),
        # What has been counted.
        (f"[::]:{six}", "dual-stack", "widened", 1),
        (f"0.0.0.0:{four}", "ipv4", "left", 0),
    ]
    assert said(done) == [f"[::]:{six} serves IPv4 and IPv6 (process {rows[0]['process']})"]


def test_a_listener_that_was_narrowed_again_is_listed_again(tmp_path: Path) -> None:
    source = START + "six = bound('::'); six.listen(); four = bound('0.0.0.0', port_of(six))"
    listing = tmp_path / "listeners.json"
    finished(launch("-c", source, options=(f"--explain={listing}",)))
    rows = [json.loads(line) for line in listing.read_text().splitlines()]
    assert [(row["serves"], row["done"]) for row in rows] == [
        ("dual-stack", "widened"),
        ("ipv6", "left"),
    ]


def test_the_ipv4_half_is_closed_with_the_listener(tmp_path: Path) -> None:
    source = (
        "sock = bound('::'); sock.listen(); port = port_of(sock); sock.close()\n"
        "four = bound('0.0.0.0', port); four.listen(); print(reached(four))"
    )
    assert of(source, tmp_path) == "['127.0.0.1']\n"


def test_listeners_are_not_asked_for_their_names_once_more_by_each_other(tmp_path: Path) -> None:
    # What Python calls of C: each is a system call.
    source = (
        "asked = [0]\n"
        "def note(frame, event, called):\n"
        "    if event == 'c_call' and called.__name__ == 'getsockname': asked[0] += 1\n"
        "def opened():\n"
        "    before = asked[0]\n"
        "    sock = bound('::'); sock.listen()\n"
        "    return sock, asked[0] - before\n"
        "sys.setprofile(note)\n"
        "made = [opened() for _ in range(40)]\n"
        "sys.setprofile(None)\n"
        "print({number for _, number in made[1:]} == {made[1][1]} and made[1][1] > 0)\n"
        "print(reached(made[0][0]), reached(made[39][0]))"
    )
    assert of(source, tmp_path) == f"True\n{BOTH.strip()} {BOTH}"


def test_a_descriptor_that_is_another_sockets_meanwhile_is_asked_again(tmp_path: Path) -> None:
    # Nobody sees that dup2 has another socket take the number of one whose port is known.
    source = (
        "first = bound('::'); first.listen()\n"
        "half = bound('0.0.0.0'); port = port_of(half)\n"
        "os.dup2(half.fileno(), first.fileno()); os.close(half.detach())\n"
        "sock = bound('::', port); sock.listen(); print(reached(sock, '::1'), v6only(sock))"
    )
    assert of(source, tmp_path) == "['::1'] 1\n"
