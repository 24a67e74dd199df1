"""Windows' programs: what can be started, by which Python, and what a command line says."""

from __future__ import annotations

import os
import struct

RUNNABLE = (".com", ".exe", ".bat", ".cmd")
"""How the names of files end that Windows starts (``CreateProcess``)."""

_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"


def named_interpreter(path: str) -> list[str] | None:
    """The interpreter and its options that an ``.exe`` of pip's names: a program that starts
    Python, a first line, and an archive with the script.

    :returns: None for a program that names none.
    """
    if not path.lower().endswith(".exe"):
        return None
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            # All but the program itself is short.
            file.seek(max(0, size - 0x10000))
            data = file.read()
    except OSError:
        return None
    end = data.rfind(_END_MARK)
    if end < 0 or len(data) - end < _END.size:
        return None
    _mark, _disk, _first, _here, _entries, length, offset, _comment = _END.unpack_from(data, end)
    archive = end - length - offset
    first = data.rfind(b"#!", 0, max(0, archive))
    if first < 0:
        return None
    line = data[first + 2 : archive].strip()
    if b"\n" in line or b"\0" in line:
        return None
    return split_command_line(os.fsdecode(line)) or None


def split_command_line(text: str) -> list[str]:
    """The words of a command line, as a program of Microsoft's C library reads it.

    ``subprocess.list2cmdline`` writes such a line.
    """
    words: list[str] = []
    word: list[str] | None = None
    quoted = False
    index = 0
    while index < len(text):
        character = text[index]
        if character in " \t" and not quoted:
            if word is not None:
                words.append("".join(word))
            word = None
            index += 1
            continue
        word = [] if word is None else word
        slashes = 0
        while index < len(text) and text[index] == "\\":
            slashes += 1
            index += 1
        if index < len(text) and text[index] == '"':
            word.append("\\" * (slashes // 2))
            if slashes % 2:
                word.append('"')
            elif quoted and text[index + 1 : index + 2] == '"':
                # Two within quotes are one.
                word.append('"')
                index += 1
            else:
                quoted = not quoted
            index += 1
        elif slashes:
            word.append("\\" * slashes)
        else:
            word.append(character)
            index += 1
    if word is not None:
        words.append("".join(word))
    return words
