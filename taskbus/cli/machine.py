"""What a measurement is worth nothing without: where it was made, and with which versions."""

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path

from taskbus import __version__


def describe_machine() -> dict[str, str | int]:
    """This machine, in the words a report needs."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "kombu": version("kombu"),
        "taskbus": __version__,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
