"""The arguments of a task: checked against its signature where it is called, converted by its hints where it runs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from taskbus import codec
from taskbus.context import Context
from taskbus.errors import BadArguments, ConfigError, DecodeError

Converter = Callable[[Any], Any] | None


class Arguments:
    """The parameters of one task's function, without the injected ``Context``.

    Type hints are looked at when the first message is unpacked, not when the task is defined: they may name classes
    that are defined further down.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except ValueError as error:  # some of Python's own functions have none
            raise ConfigError(f"task {name!r}: {error}; write a def that calls it") from None
        self.takes_context = bool(parameters) and _is_context(parameters[0].annotation)
        if self.takes_context:
            del parameters[0]
        misplaced = [parameter.name for parameter in parameters if _is_context(parameter.annotation)]
        if misplaced:
            raise ConfigError(f"task {name!r}: make the Context parameter {misplaced[0]!r} the first one")
        self.signature = inspect.Signature(parameters)
        positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
        has_varargs = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
        self._fewest = sum(parameter.default is inspect.Parameter.empty for parameter in positional)
        self._most = 1 << 30 if has_varargs else len(positional)
        self._needs_keywords = any(
            parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is inspect.Parameter.empty
            for parameter in parameters
        )
        self.takes = self._most
        """How many positional arguments a caller may give."""
        self.positional = tuple(parameter.name for parameter in positional)
        """The names of those that have one, in their order."""
        self._hints: Mapping[str, Any] | None = None
        self._converters: Mapping[str, Converter] = {}
        self._convert_result: Converter = None

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise ``BadArguments``, with the signature, unless the function could be called like this."""
        if not kwargs and self._fewest <= len(args) <= self._most and not self._needs_keywords:
            return  # what nearly every call looks like; Signature.bind costs ten times the rest of a send's own work
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise BadArguments(f"{self.name}{self.signature}: {error}") from None

    def unpack(self, body: bytes, content_type: str, before: Sequence[Any] = ()) -> tuple[list[Any], dict[str, Any]]:
        """The arguments in ``body``, behind those in ``before``, converted as the type hints say.

        Raises ``DecodeError`` for bytes that are no arguments, ``BadArguments`` for arguments that do not fit.
        """
        args, kwargs = self._decoded(body, content_type)
        return self.fitted([*before, *args] if before else args, kwargs)

    def unpack_chunk(
        self, body: bytes, content_type: str, before: Sequence[Any] = ()
    ) -> list[tuple[list[Any], dict[str, Any]]]:
        """The arguments of many calls, each as by ``unpack``: the body's only positional argument is a list of lists.

        The body's keyword arguments are those of every call. Raises as ``unpack``, naming the call that is wrong.
        """
        args, kwargs = self._decoded(body, content_type)
        if not (len(args) == 1 and isinstance(args[0], list) and all(isinstance(call, list) for call in args[0])):
            raise DecodeError(f"{self.name}: the body of a chunk is not a list of argument lists")
        calls = []
        for number, call in enumerate(args[0], 1):
            try:
                calls.append(self.fitted([*before, *call], kwargs))
            except BadArguments as error:
                raise BadArguments(f"call {number} of {len(args[0])}: {error}") from error
        return calls

    def _decoded(self, body: bytes, content_type: str) -> tuple[list[Any], dict[str, Any]]:
        call = codec.decode(body, content_type)
        if not (isinstance(call, list) and len(call) == 2 and isinstance(call[0], list) and isinstance(call[1], dict)):
            raise DecodeError(f"{self.name}: the body is not a pair of positional and keyword arguments")
        return call[0], call[1]

    def fitted(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Decoded arguments, converted as the type hints say. Raises ``BadArguments``."""
        self.check(args, kwargs)
        if self._hints is None:
            self._read_hints()
        return (args, kwargs) if not self._converters else self._convert(args, kwargs)

    def result(self, value: bytes, content_type: str) -> Any:
        """A stored return value, converted as the function's return annotation says."""
        if self._hints is None:
            self._read_hints()
        decoded = codec.decode(value, content_type)
        return decoded if self._convert_result is None else self._convert_result(decoded)

    def results(self, value: bytes, content_type: str) -> Any:
        """The stored value of a chunk: the list of what the function returned, each converted as ``result`` does."""
        if self._hints is None:
            self._read_hints()
        decoded = codec.decode(value, content_type)
        convert = self._convert_result
        return decoded if convert is None else [convert(each) for each in decoded]

    def _convert(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        bound = self.signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            convert = self._converters.get(name)
            if convert is None:
                continue
            kind = self.signature.parameters[name].kind
            try:
                if kind is inspect.Parameter.VAR_POSITIONAL:
                    bound.arguments[name] = tuple(convert(item) for item in value)
                elif kind is inspect.Parameter.VAR_KEYWORD:
                    bound.arguments[name] = {key: convert(item) for key, item in value.items()}
                else:
                    bound.arguments[name] = convert(value)
            except (TypeError, ValueError) as error:
                raise BadArguments(f"{self.name}{self.signature}: argument {name!r}: {error}") from error
        return list(bound.args), bound.kwargs

    def _read_hints(self) -> None:
        try:
            hints = get_type_hints(inspect.unwrap(self.function), include_extras=True)
        except (NameError, TypeError, AttributeError):
            hints = {}  # a hint that cannot be resolved here converts nothing
        converters = {name: codec.converter(hints[name]) for name in self.signature.parameters if name in hints}
        self._converters = {name: convert for name, convert in converters.items() if convert is not None}
        self._convert_result = codec.converter(hints["return"]) if "return" in hints else None
        self._hints = hints


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _is_context(annotation: Any) -> bool:
    return annotation is Context or annotation in ("Context", "taskbus.Context")
