"""What this process has open, for tests that count connections."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

FOLDER = Path("/proc/self/fd")
needs_open_files = pytest.mark.skipif(not FOLDER.exists(), reason=f"needs {FOLDER}")


def open_files() -> set[str]:
    """Files and sockets that are open, by names that no two sockets share."""
    names = set()
    for each in FOLDER.iterdir():
        with suppress(OSError):  # that of the listing itself
            names.add(os.readlink(each))
    return names
