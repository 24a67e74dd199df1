"""Listening for streams under Twisted."""
