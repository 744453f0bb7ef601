"""The health of runs in a terminal: `foreshock watch`."""
