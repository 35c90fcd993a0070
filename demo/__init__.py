"""A show of what the package does, on real decisions: `python -m demo`."""
