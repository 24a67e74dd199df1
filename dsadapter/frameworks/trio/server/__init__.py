"""Listening for streams under Trio."""
