"""Throw-away drivers: what a framework has to write to use the neutral layers."""
