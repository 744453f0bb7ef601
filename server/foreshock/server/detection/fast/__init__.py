"""The fast layer: which series have left their baseline, since which step, and by how much."""
