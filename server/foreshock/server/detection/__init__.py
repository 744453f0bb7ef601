"""What is judged: samples in, verdicts out. Nothing here reads a clock, a file or a database."""
