"""A remote failure is raised as its own class only if that class was known here before the failure came."""

import builtins
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbus import codec, errors
from taskbus.errors import RemoteError, SoftTimeLimitExceeded, TaskBusError, TaskExpired, TaskRevoked, TaskTimedOut
from taskbus.outcome import Failure, State
from taskbus.store import remote
from taskbus.store.base import StoredResult
from taskbus.store.memory import MemoryStore
from taskbus.store.results import AsyncResult
from taskbus.testing.records import saved

TRACE = 'Traceback (most recent call last):\n  File "shop.py", line 7, in buy\nValueError: no such page'


class OutOfStock(Exception):
    """An application's own error."""


class Demanding(Exception):
    """An error that cannot be made of a message alone."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)


class Described(Exception):
    """An error that cannot even be shown without what its constructor sets."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.text = message

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class Converting(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(int(message))


def raised_by(failure: Failure, **allowed: type[BaseException]) -> BaseException:
    store = MemoryStore()
    store.apply([saved("t1", State.FAILURE, failure=failure)])
    names = {name.replace("__", "."): kind for name, kind in allowed.items()}
    result: AsyncResult[Any] = AsyncResult("t1", store, decode=codec.decode, allowed=names)
    with pytest.raises(BaseException) as caught:
        result.get(0)
    return caught.value


@pytest.mark.parametrize("name", ["builtins.ValueError", "ValueError"])
def test_an_error_of_python_is_raised_as_itself(name: str) -> None:
    error = raised_by(Failure(name, "no such page", TRACE))
    assert (type(error), str(error)) == (ValueError, "no such page")


def test_the_remote_traceback_is_shown_and_kept_as_the_cause() -> None:
    error = raised_by(Failure("builtins.ValueError", "no such page", TRACE))
    assert isinstance(error.__cause__, RemoteError)
    assert (error.__cause__.type, error.__cause__.remote_traceback) == ("builtins.ValueError", TRACE)
    shown = "".join(traceback.format_exception(error))
    assert 'File "shop.py", line 7, in buy' in shown


def test_an_error_the_app_names_is_raised_as_itself() -> None:
    failure = Failure("shop.OutOfStock", "none left", TRACE)
    error = raised_by(failure, shop__OutOfStock=OutOfStock)
    assert (type(error), str(error)) == (OutOfStock, "none left")
    assert isinstance(error.__cause__, RemoteError)


def test_an_error_nobody_named_is_a_remote_error_with_everything_in_it() -> None:
    error = raised_by(Failure("shop.OutOfStock", "none left", TRACE))
    assert type(error) is RemoteError
    assert (error.type, str(error), error.remote_traceback) == ("shop.OutOfStock", "shop.OutOfStock: none left", TRACE)
    assert "line 7, in buy" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("kind", [Demanding, Converting])
def test_an_error_the_app_names_is_raised_as_itself_even_if_its_constructor_wants_more(kind: type[Exception]) -> None:
    error = raised_by(Failure("shop.Wrong", "boom", TRACE), shop__Wrong=kind)
    assert (type(error), str(error), error.args) == (kind, "boom", ("boom",))
    assert isinstance(error.__cause__, RemoteError)


@pytest.mark.parametrize("kind", [Described, UnicodeDecodeError, ExceptionGroup])
def test_an_error_that_cannot_say_its_message_is_a_remote_error(kind: type[Exception]) -> None:
    error = raised_by(Failure("shop.Wrong", "boom"), shop__Wrong=kind)
    assert type(error) is RemoteError
    assert str(error) == "shop.Wrong: boom"


def test_a_time_limit_is_an_ordinary_exception_with_a_class_of_its_own() -> None:
    error = raised_by(Failure("taskbus.errors.TimeLimitExceeded", "it ran longer", TRACE))
    assert type(error) is TaskTimedOut
    assert isinstance(error, RemoteError)
    assert (error.type, error.message) == ("taskbus.errors.TimeLimitExceeded", "it ran longer")
    assert "line 7, in buy" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "name",
    [
        "os:system", "os.system", "builtins.eval", "eval", "builtins.exec", "builtins.print", "__class__", "type",
        "builtins.type", "object", "subprocess.Popen", "builtins.__import__", "builtins.open", "int", "", ".", "..",
        "builtins.", "ValueError.__init__", "builtins.ValueError.mro", "posix.system", "taskbus.errors.__builtins__",
        "taskbus.errors.TaskBusError.__subclasses__", "KeyboardInterrupt", "builtins.SystemExit", "GeneratorExit",
        "BaseException", "StopIteration", "StopAsyncIteration", "ExceptionGroup", "BaseExceptionGroup",
        "taskbus.errors.TaskTimedOut", "taskbus.errors.RemoteError", "importlib.import_module", "\x00", "x" * 9999,
    ],
)  # fmt: skip
def test_a_name_of_anything_else_is_inert_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for dangerous in ("eval", "exec", "__import__"):
        monkeypatch.setattr(builtins, dangerous, pytest.fail)
    error = remote.error_of(StoredResult("t1", "t", State.FAILURE, failure=Failure(name, "echo pwned", "")), {})
    monkeypatch.undo()
    assert type(error) is RemoteError
    assert (error.type, error.__cause__) == (name, None)


@given(st.text(), st.text(), st.text())
def test_any_failure_at_all_becomes_an_error_that_can_be_raised(name: str, message: str, trace: str) -> None:
    error = remote.error_of(StoredResult("t1", "t", State.FAILURE, failure=Failure(name, message, trace)), {})
    assert isinstance(error, RemoteError) or type(error) in remote.KNOWN.values()


def test_every_class_that_is_rebuilt_is_an_ordinary_exception() -> None:
    assert all(issubclass(kind, Exception) for kind in remote.KNOWN.values())
    for name in remote.KNOWN:
        error = remote.error_of(StoredResult("t1", "t", State.FAILURE, failure=Failure(name, "boom")), {})
        assert isinstance(error, Exception)
        with pytest.raises(Exception, match="boom"):
            raise error


@pytest.mark.parametrize(
    "kind", [SoftTimeLimitExceeded, errors.BadArguments, errors.DecodeError, errors.Reject, errors.RetryRequested]
)
def test_an_error_of_taskbus_is_raised_as_itself(kind: type[TaskBusError]) -> None:
    assert type(raised_by(Failure(f"taskbus.errors.{kind.__name__}", "boom"))) is kind


@pytest.mark.parametrize(
    ("failure", "kind", "says"),
    [
        (None, TaskRevoked, "was revoked before it ran"),
        (Failure("taskbus.errors.TaskExpired", "too late"), TaskExpired, "too late"),
        (Failure("taskbus.errors.TaskRevoked", "called off by ops"), TaskRevoked, "called off by ops"),
        (Failure("os.system", "called off"), TaskRevoked, "called off"),
    ],
)
def test_a_revoked_task_raises_why(failure: Failure | None, kind: type[TaskRevoked], says: str) -> None:
    error = remote.error_of(StoredResult("t1", "t", State.REVOKED, failure=failure), {})
    assert type(error) is kind and says in str(error)


def test_a_failure_without_a_reason_is_an_error_all_the_same() -> None:
    error = remote.error_of(StoredResult("t1", "t", State.FAILURE), {})
    assert isinstance(error, TaskBusError) and "left no reason" in str(error)
