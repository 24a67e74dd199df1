"""``dsadapter cutover``: replace a running server from outside, without losing a connection."""
