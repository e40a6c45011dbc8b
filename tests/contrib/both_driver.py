"""Calls the tasks of both_app in every way, and prints what came of each case as JSON. FRAMEWORK says by which."""

import json
import sys

import both_calls  # noqa: F401 - registers its cases
import both_flows  # noqa: F401
from both_rig import CASES

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(CASES)
    print(json.dumps({name: CASES[name]() for name in wanted}))
