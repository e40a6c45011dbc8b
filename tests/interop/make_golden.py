"""Make ``golden/messages.json``: what Celery itself puts into Redis for each kind of call. Run it with a new Celery.

``python -m tests.interop.make_golden``, in the folder of the repository. Each case is the bytes of the list, as text.
"""

import json
import tempfile
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from celery import Celery, chord, group

from tests.servers.redis_server import RedisServer

GOLDEN = Path(__file__).parent / "golden" / "messages.json"
LISTS = ("celery", "celery\x06\x163", "celery\x06\x166", "celery\x06\x169")
TYPED = [
    datetime(2026, 2, 1, 12, 30, tzinfo=UTC), date(2026, 2, 1), time(12, 30), Decimal("1.50"), UUID(int=7), b"text",
    b"\xff\x00",
]  # fmt: skip
WHEN = datetime(2031, 5, 1, 12, tzinfo=UTC)


def cases(app: Celery) -> dict[str, Any]:
    add = app.signature("shop.add", (2, 3), task_id="the-id")
    full: dict[str, Any] = {
        "eta": WHEN, "expires": datetime(2031, 5, 2, tzinfo=UTC), "time_limit": 10, "soft_time_limit": 5, "priority": 5,
        "shadow": "shadowed", "ignore_result": True, "headers": {"x-text": "v", "x-number": 5, "x-map": {"a": [1]}},
        "retries": 2, "link": app.signature("shop.done"), "link_error": app.signature("shop.failed"),
        "root_id": "the-root", "parent_id": "the-parent",
    }  # fmt: skip
    each = {name: {"compression": name} for name in ("gzip", "bzip2", "lzma", "zstd", "brotli")}
    each |= {name: {"serializer": name} for name in ("msgpack", "yaml", "pickle")}
    sends: dict[str, Any] = {
        "plain": add.apply_async,
        "full": lambda: add.apply_async(**full),
        "typed": lambda: app.send_task("shop.add", (TYPED,), {"k": 1}, task_id="the-id"),
        "chain": (app.signature("shop.add", (1, 1)) | app.signature("shop.add", (2,))).apply_async,
        "map": app.signature("celery.map", (), {"task": app.signature("shop.add"), "it": [1, 2]}).apply_async,
    }
    sends |= {name: lambda options=options: add.apply_async(**options) for name, options in each.items()}
    return sends


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            app = Celery("golden", broker=server.url, backend=server.url)
            app.conf.accept_content = ["json", "pickle", "yaml", "msgpack"]
            found = {name: _taken(server, send) for name, send in cases(app).items()}
            header = group(app.signature("shop.add", (n,)) for n in (1, 2))
            found["chord"] = _taken(server, chord(header, app.signature("shop.done")).apply_async)
            old = Celery("golden", broker=server.url, task_protocol=1)
            found["protocol 1"] = _taken(
                server, lambda: old.send_task("shop.add", (2, 3), task_id="the-id", eta=WHEN, retries=1)
            )
        finally:
            server.kill()
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


def _taken(server: RedisServer, send: Any) -> str:
    """The first message that a send puts into the lists."""
    send()
    wires = [wire for each in LISTS for wire in reversed(server.cli("LRANGE", each, 0, -1))]
    server.cli("DEL", *LISTS)
    return wires[0].decode()


if __name__ == "__main__":
    main()
