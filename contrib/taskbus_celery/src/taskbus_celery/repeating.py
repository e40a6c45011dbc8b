"""Many calls of one task in few messages: ``map``, ``starmap`` and ``chunks``."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from taskbus_celery.canvas import Signature, group

MAP, STARMAP = "celery.map", "celery.starmap"


class xmap(Signature):
    """One message that makes a call for each item, one after the other, and gives the list of their values."""

    def __init__(self, task: Any, it: Iterable[Any], app: Any = None, **options: Any) -> None:
        super().__init__(MAP, (), {"task": task, "it": list(it)}, options, immutable=True, app=app)


class xstarmap(Signature):
    """As ``xmap``; each item holds the arguments of a call."""

    def __init__(self, task: Any, it: Iterable[Any], app: Any = None, **options: Any) -> None:
        super().__init__(
            STARMAP, (), {"task": task, "it": [list(each) for each in it]}, options, immutable=True, app=app
        )


class chunks:
    """Calls in messages of ``n`` each."""

    def __init__(self, task: Any, it: Iterable[Any], n: int, app: Any = None) -> None:
        self._task, self._items, self._n, self._app = task, list(it), n, app

    def group(self) -> Any:
        """The group of those messages."""
        items = iter(self._items)
        parts = iter(lambda: list(islice(items, self._n)), [])
        return group([xstarmap(self._task, part, app=self._app) for part in parts], app=self._app)

    def __call__(self, **options: Any) -> Any:
        """Send them."""
        return self.group().apply_async(**options)

    apply_async = __call__
    delay = __call__
