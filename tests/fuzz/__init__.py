"""Requests that nobody means well by: `make fuzz`, and a smoke part in the suite."""
