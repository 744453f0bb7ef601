"""Faults on real processes, and what must hold after each: see `__main__`."""
