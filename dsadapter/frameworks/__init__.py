"""The frameworks that dual-stack endpoints exist for. Import one by its own name."""
