"""Benchmarks: every figure a ratio within one run."""
