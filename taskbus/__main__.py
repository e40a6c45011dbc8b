"""``python -m taskbus``: the same as the command ``taskbus``."""

from taskbus.cli.main import main

if __name__ == "__main__":
    main()
