"""Connecting to a name with several addresses (Happy Eyeballs, RFC 8305): events in, actions out.

No sockets, no clock, no framework: an address is a canonical socket address tuple, time a number
of seconds that the caller gives.
"""
