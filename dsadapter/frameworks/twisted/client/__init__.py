"""Connecting streams under Twisted."""
