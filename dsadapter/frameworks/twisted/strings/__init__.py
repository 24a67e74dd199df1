"""Twisted's endpoint strings."""
