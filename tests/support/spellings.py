"""Addresses in the spellings that people type, and the one that everybody is shown."""

from __future__ import annotations

SPELLINGS = {
    "::1": ("::1", "0::1", "0:0:0:0:0:0:0:1", "0000:0000:0000:0000:0000:0000:0000:0001"),
    "127.0.0.1": ("127.0.0.1", "::ffff:127.0.0.1", "::FFFF:7F00:1", "0:0:0:0:0:ffff:7f00:0001"),
    "0.0.0.0": ("0.0.0.0", "::ffff:0.0.0.0", "0:0:0:0:0:FFFF:0:0"),
    "::": ("", "::", "::0", "0::", "0:0::0", "0:0:0:0:0:0:0:0", "::0.0.0.0"),
}
"""What a listener on this machine can bind, by its canonical spelling."""

LOOPBACK = [(text, shown) for shown in ("::1", "127.0.0.1") for text in SPELLINGS[shown]]
"""Every spelling of each loopback address, with the canonical one."""
EVERY = [(text, shown) for shown, texts in SPELLINGS.items() for text in texts]
