"""``python -m taskbus``: the same as the command ``taskbus``."""

from taskbus.cli.entry import main

if __name__ == "__main__":
    main()
