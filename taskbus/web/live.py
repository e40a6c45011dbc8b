"""The live stream: one snapshot a second, made and turned into bytes once, however many look at it.

Source of the format: HTML Living Standard, "Server-sent events". A client that does not take its snapshots gets the
newest one when it does, and is sent away if that takes long: nothing is kept for it. Where the stream was broken off
(``Last-Event-ID``) does not matter, since each snapshot is whole.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from taskbus.errors import TaskBusError
from taskbus.web.answers import encoded, refused
from taskbus.web.house import House
from taskbus.web.picture import snapshot
from taskbus.web.refusal import Refusal
from taskbus.web.shapes.picture import ViewName

log = logging.getLogger(__name__)
MOST_CLIENTS = 100
PERIOD = 1.0
HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection."""
SLOW = 10.0
"""Seconds that a client may take to take what was sent."""
LONGEST = 3600.0
"""Seconds after which a stream ends, and is asked for anew: so that whoever may look no longer does not."""
WATCHED_FOR = 10.0
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class Client:
    """One stream. ``offer`` replaces what was not taken yet."""

    def __init__(self, view: ViewName) -> None:
        self.view = view
        self._latest: bytes | None = None
        self._news = asyncio.Event()
        self.is_over = False

    def offer(self, event: bytes) -> None:
        """Have the client sent this next."""
        self._latest = event
        self._news.set()

    def end(self) -> None:
        """End the stream after what is being sent."""
        self.is_over = True
        self._news.set()

    async def next(self, timeout: float) -> bytes:
        """What to send next; a comment after ``timeout`` seconds without anything."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout)
        except TimeoutError:
            return b":\n\n"
        self._news.clear()
        event, self._latest = self._latest, None
        return event or b""


class Live:
    """The streams of one server, all in one event loop. ``house`` is asked for with each snapshot."""

    def __init__(self, house: Callable[[], House], most: int = MOST_CLIENTS) -> None:
        self._house, self._most = house, most
        self._clients: set[Client] = set()
        self._publishing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="taskbus-web-live")
        self._number = 0
        self._is_closed = False

    @property
    def clients(self) -> int:
        """How many streams there are."""
        return len(self._clients)

    def join(self, view: ViewName) -> Client:
        """A new stream. Raises ``Refusal`` if there are too many."""
        if len(self._clients) >= self._most or self._is_closed:
            text = f"{self._most} pages are open already" if not self._is_closed else "this server is stopping"
            headers = {"Retry-After": "30"}
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, text, "close some, or try again later", headers=headers)
        client = Client(view)
        self._clients.add(client)
        if self._publishing is None or self._publishing.done():
            self._publishing = asyncio.get_running_loop().create_task(self._publish())
        return client

    def leave(self, client: Client) -> None:
        """End a stream."""
        self._clients.discard(client)

    def close(self) -> None:
        """End all streams, and take no more."""
        self._is_closed = True
        for client in self._clients:
            client.end()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _publish(self) -> None:
        """Go on as long as somebody looks."""
        loop = asyncio.get_running_loop()
        while self._clients and not self._is_closed:
            started = loop.time()
            views = {client.view for client in self._clients}
            try:
                made = await loop.run_in_executor(self._thread, self._made, views)
            except Exception as error:
                log.warning("the live picture cannot be made: %s", error, exc_info=not isinstance(error, TaskBusError))
                made = {}
            for client in self._clients:
                if client.view in made:
                    client.offer(made[client.view])
            await asyncio.sleep(max(0.05, started + PERIOD - loop.time()))

    def _made(self, views: Iterable[ViewName]) -> Mapping[ViewName, bytes]:
        """The events of these views, in a thread."""
        house = self._house()
        if house.collector is not None:
            house.collector.watch(WATCHED_FOR)
        seen = house.seen()
        self._number += 1
        return {view: event(self._number, encoded(snapshot(seen, view))) for view in views}


def event(number: int, data: bytes) -> bytes:
    """A snapshot as an event; ``data`` is JSON, which has no line breaks."""
    return b"id: %d\nevent: snapshot\ndata: %b\n\n" % (number, data)


class Stream(Response):
    """The answer to one client, until he leaves, is too slow, or the server stops."""

    def __init__(self, live: Live, view: ViewName) -> None:
        self._live = live
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            client = self._live.join(self._view)
        except Refusal as refusal:
            await refused(refusal)(scope, receive, send)
            return
        gone = asyncio.ensure_future(_gone(receive))
        gone.add_done_callback(lambda _: client.end())
        try:
            await self._feed(client, send)
        except TimeoutError:
            log.info("a live stream is ended: its client does not take it")
        finally:
            gone.cancel()
            self._live.leave(client)

    async def _feed(self, client: Client, send: Send) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST
        chunk = b"retry: 2000\n\n"
        while not client.is_over and loop.time() < until:
            await asyncio.wait_for(send({"type": "http.response.body", "body": chunk, "more_body": True}), SLOW)
            chunk = await client.next(HEARTBEAT)
        await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), SLOW)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
