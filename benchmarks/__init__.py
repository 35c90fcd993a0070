"""Reproducible measurements: each names its data and prints what came out."""
