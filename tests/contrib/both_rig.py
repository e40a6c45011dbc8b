"""What the cases that are run under both frameworks have in common."""

import time

TIMEOUT = 30
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def until(condition):
    deadline = time.monotonic() + TIMEOUT
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {condition}")
        time.sleep(0.01)
    return found


def ended(result):
    """How a call ended, as far as both frameworks can agree on it."""
    try:
        value = result.get(timeout=TIMEOUT)
    except Exception as error:
        return ["raised", type(error).__name__, *map(str, error.args)]
    return ["returned", value]
