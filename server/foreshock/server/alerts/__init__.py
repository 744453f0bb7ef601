"""What becomes of verdicts: the life of an alert, and how people hear of it."""
