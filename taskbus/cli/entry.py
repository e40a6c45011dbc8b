"""Where the command ``taskbus`` begins. Probes run every few seconds, so ``taskbus health`` imports nothing else."""

import sys
from importlib import import_module
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and leave with its exit status."""
    if sys.argv[1:2] == ["health"]:
        import_module("taskbus.cli.health").command.main(sys.argv[2:], prog_name="taskbus health")
    import_module("taskbus.cli.main").main()
    raise AssertionError("a command line ends its process")
