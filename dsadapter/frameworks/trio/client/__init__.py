"""Connecting streams under Trio."""
