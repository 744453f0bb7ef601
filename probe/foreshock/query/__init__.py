"""A collector's runs and numbers in Python, as numpy arrays and pandas frames."""
