"""TaskBus's own errors: one tree, and each can be sent to another process."""

import pickle

import pytest

from taskbus import errors
from taskbus.errors import RemoteError, RetryRequested, TaskBusError, TaskTimedOut, TimeLimitExceeded

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BaseException)]
ARGUMENTS: dict[type[BaseException], tuple[object, ...]] = {
    RemoteError: ("shop.OutOfStock", "none left", "Traceback ..."),
    TaskTimedOut: ("taskbus.errors.TimeLimitExceeded", "it ran longer", "Traceback ..."),
    RetryRequested: ("not yet", 2.5),
}


@pytest.mark.parametrize("kind", ALL)
def test_an_error_is_the_same_after_a_pickle(kind: type[BaseException]) -> None:
    error = kind(*ARGUMENTS.get(kind, ("boom",)))
    error.add_note("a note")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is kind
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_a_remote_error_without_a_message_is_the_same_after_a_pickle() -> None:
    again = pickle.loads(pickle.dumps(RemoteError("shop.OutOfStock", "")))
    assert (str(again), again.type, again.message) == ("shop.OutOfStock", "shop.OutOfStock", "")


@pytest.mark.parametrize("kind", ALL)
def test_every_error_but_the_time_limit_has_one_root(kind: type[BaseException]) -> None:
    assert issubclass(kind, TaskBusError) is (kind is not TimeLimitExceeded)


def test_the_tree_in_the_docstring_names_every_class() -> None:
    assert errors.__doc__ is not None
    words = set(errors.__doc__.split())
    assert {kind.__name__ for kind in ALL} <= words
