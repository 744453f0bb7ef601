"""Fits the forecaster's model to recorded runs: `foreshock scenarios fit`."""
