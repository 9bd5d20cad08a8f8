"""`python -m worker` is the command `logistics`."""

from worker.cli import main

main()
