"""Command lines to type, as the shells and the tools of each system take them: the one table.

Whatever advises a command asks here; those of Windows are for its command prompt.
"""

from __future__ import annotations

# Every start under the launcher waits for these.
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    What = Literal[
        "addresses", "routes", "prohibitions", "port", "reserved", "loopback", "remove", "empty"
    ]

_LINUX = {
    "addresses": "ip address",
    "routes": "ip route get {host}",
    "prohibitions": "ip route get {host}",
    "port": "ss -anp 'sport = :{port}'",
    "loopback": "ip link set lo up",
    "remove": "rm {file}",
    "empty": "rm -r {folder}",
}
_BSD = _LINUX | {
    "addresses": "ifconfig",
    "routes": "netstat -rn",
    "prohibitions": "netstat -rn",
    "port": "netstat -an | grep '[.]{port} '",
    "loopback": "ifconfig lo0 up",
}
_WINDOWS = {
    "addresses": "netsh interface ipv6 show addresses",
    "routes": "route print",
    "prohibitions": "netsh advfirewall firewall show rule name=all dir=out",
    "port": "netstat -ano | findstr :{port}",
    "reserved": "netsh interface ipv4 show excludedportrange protocol={protocol}",
    "loopback": "netsh interface show interface",
    "remove": "del {file}",
    "empty": "rmdir /s {folder}",
}
# What stands for itself in the command prompt, and in PowerShell.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:\\/=~+-_[]")


def command_line(what: What, *, platform: str = sys.platform, **words: object) -> str:
    """What to type on a system.

    :param what: ``addresses`` and ``routes`` show this machine's, ``prohibitions`` what keeps it
        from sending to ``host``, ``port`` the sockets on one, ``reserved`` the ports of a
        ``protocol`` that Windows keeps for others, ``loopback`` has its interface up; ``remove`` a
        ``file``, ``empty`` a ``folder``.
    :param platform: as ``sys.platform``.
    :param words: what the command is about; each is one word of the line.
    """
    table: Mapping[str, str] = _BSD
    if platform == "win32":
        table = _WINDOWS
    elif platform.startswith("linux"):
        table = _LINUX
    shown = {name: joined([str(word)], platform=platform) for name, word in words.items()}
    return table[what].format_map(shown)


def joined(words: Sequence[str], *, platform: str = sys.platform) -> str:
    """Words as a shell takes them."""
    if platform == "win32":
        return " ".join(map(_windows_word, words))
    # Only what is to be typed needs it.
    import shlex

    return shlex.join(words)


def _windows_word(word: str) -> str:
    from subprocess import list2cmdline

    if word and _PLAIN.issuperset(word):
        return word
    # A blank has it put quotes around, in which the shell takes & and its like for text.
    return '"' + list2cmdline([" " + word])[2:]


def assignment(name: str, value: str, *, platform: str = sys.platform) -> str:
    """What sets a variable of the environment to a value; takes it away, if that is empty."""
    if platform == "win32":
        return f'set "{name}={value}"'
    return f"export {name}={joined([value], platform=platform)}" if value else f"unset {name}"


def pip(python: str, *words: str, platform: str = sys.platform) -> str:
    """What has the pip of an interpreter do something."""
    return joined([python, "-m", "pip", *words], platform=platform)


def extra(name: str, *, platform: str = sys.platform) -> str:
    """What installs an extra of the project."""
    return joined(["pip", "install", f"dsadapter[{name}]"], platform=platform)
