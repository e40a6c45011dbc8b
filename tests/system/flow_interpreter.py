"""What must come out of a workflow, worked out from its shape alone: values, who is to blame, how often each call runs.

It is written from what the documentation promises, and knows nothing of nodes, stores, messages or the order of things.
Where the order decides (which of two members of a group failed first), all that may come out are right.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from random_flows_app import ATTEMPTS, FAILED, Shape


class Value(NamedTuple):
    """It succeeded with this."""

    value: Any


class Failed(NamedTuple):
    """It failed, or could not run; one of these calls is named as the cause."""

    causes: frozenset[str]


class Skipped(NamedTuple):
    """It was to run upon something that did not happen."""


End = Value | Failed | Skipped
NOTHING = Value(None)
"""What stands before a workflow: it may run, and is given nothing."""


@dataclass
class Interpreter:
    """Runs shapes. ``runs``: how often each call was run, by its key."""

    runs: Counter[str] = field(default_factory=Counter)

    def end(self, shape: Shape, before: End = NOTHING, *, is_fed: bool = False) -> End:
        """How a shape ends, and in ``runs`` what of it and of its links has run.

        ``before``: how that ended which it comes after; ``is_fed``: whether there is any.
        """
        found = self._end(shape, before, is_fed)
        for link in shape["links"]:
            self.end(link, found, is_fed=True)
        for link in shape["errors"]:
            self.end(link, Value(found) if isinstance(found, Failed) else Skipped(), is_fed=True)
        return found

    def _end(self, shape: Shape, before: End, is_fed: bool) -> End:
        match shape["is"]:
            case "call":
                return self._call(shape, before, is_fed)
            case "chain":
                return self._chain(shape["steps"], before, is_fed)
            case "chord":
                return self._chain([{**shape, "is": "group", "links": [], "errors": []}, shape["body"]], before, is_fed)
            case "group":
                ends = [self.end(each, before, is_fed=is_fed) for each in shape["members"]]
                return _joined(ends, before, shape["collects"])
            case "map" | "starmap":
                return _joined([self._attempts([each], before, []) for each in shape["items"]], before, False)
            case "chunks":
                items, size = shape["items"], shape["size"]
                chunks = [items[start : start + size] for start in range(0, len(items), size)]
                return _joined([self._attempts(chunk, before, None) for chunk in chunks], before, False)
        raise AssertionError(shape["is"])

    def _chain(self, steps: Sequence[Shape], before: End, is_fed: bool) -> End:
        for step in steps:
            before, is_fed = self.end(step, before, is_fed=is_fed), True
        return before

    def _call(self, call: Shape, before: End, is_fed: bool) -> End:
        if not isinstance(before, Value):
            return before
        if call["instead"] is not None:
            self.runs[call["key"]] += 1
            return self.end(call["instead"])
        return self._attempts([call], before, [before.value] if is_fed and call["takes"] else [])

    def _attempts(self, calls: Sequence[Shape], before: End, given: list[Any] | None) -> End:
        """Calls made in turn as one task; all of them again when one fails. ``given`` None: the value is a list."""
        if not isinstance(before, Value):
            return before
        failed = ""
        for attempt in range(1, ATTEMPTS + 1):
            values, failed = [], ""
            for call in calls:
                self.runs[call["key"]] += 1
                if attempt <= call["failures"]:
                    failed = call["key"]
                    break
                values.append([call["key"], *(given or [])])
            if not failed:
                return Value(values if given is None else values[0])
        return Failed(frozenset([failed]))


def _joined(ends: Sequence[End], before: End, collects: bool) -> End:
    """How a group ends. What could not run at all ends as what it comes after, whatever it collects."""
    if not isinstance(before, Value):
        return before
    failed = [end for end in ends if isinstance(end, Failed)]
    if failed and not collects:
        return Failed(frozenset().union(*(end.causes for end in failed)))
    return Value([end if isinstance(end, Failed) else end.value for end in ends if not isinstance(end, Skipped)])


def is_as_expected(found: Any, expected: Any) -> bool:
    """Whether a value is one of those that may come out; ``found`` as ``random_flows_app.told``."""
    if isinstance(expected, Failed):
        return bool(isinstance(found, list) and found[:1] == [FAILED] and found[1] in expected.causes)
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return False
        return all(is_as_expected(one, other) for one, other in zip(found, expected, strict=True))
    return bool(found == expected)
