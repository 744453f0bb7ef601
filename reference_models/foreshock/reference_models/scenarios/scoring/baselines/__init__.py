"""What others publish, each at its own threshold; one kind of statistic a file."""
