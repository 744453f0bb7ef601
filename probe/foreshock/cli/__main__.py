"""`python -m foreshock.cli`, the same as the console script."""

from foreshock.cli import main

main()
