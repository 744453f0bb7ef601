"""In and out: runs of other tools brought to a collector, runs of a collector taken out as tables."""
