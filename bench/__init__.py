"""Benchmarks: where the figures that README quotes come from."""
