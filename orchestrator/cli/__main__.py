"""``python -m orchestrator.cli``: the command line where no script is installed."""

from orchestrator.cli import main

main()
