"""The page: files that were built from ``ui``, served as they are; or a plain page that says how to build them.

Files under ``assets`` have their contents' hash in their name, and are kept by browsers for good. Every other path that
a browser goes to is a place in the page, and gets ``index.html``, in which ``__BASE__`` becomes where the page is.
"""

import asyncio
import hashlib
import os
from html import escape
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from taskbus.web.auth.doorkeeper import Door
from taskbus.web.refusal import Refusal, missing

FOLDER = Path(__file__).parent / "page"
BASE = "__BASE__"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".map": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
"""Said here, since the tables of machines differ, and a script of the wrong type is not run."""
FOR_GOOD = "public, max-age=31536000, immutable"
_BARE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title} - TaskBus</title></head>
<body><main><h1>{title}</h1>{text}</main></body></html>
"""
_UNBUILT = """<p>This installation of TaskBus has no page: it was not built when TaskBus was installed.</p>
<p>To build it, run this where TaskBus's sources are, and start <code>taskbus web</code> again:</p>
<pre>TASKBUS_UI=require pip install --editable ".[web]"</pre>
<p>Wheels hold the page. Everything that it shows is served all the same, as JSON:
<a href="{base}api/v1/overview">overview</a>, and <a href="{base}api/v1/openapi.json">what else there is</a>.</p>"""


class Assets(StaticFiles):
    """Files with a hash in their name. The folder need not be there."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(directory=folder / "assets", check_dir=False)

    async def check_config(self) -> None:
        """Nothing: what is not there is not found."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """As its parent's, with the type said here, to be kept for good."""
        kind = TYPES.get(Path(full_path).suffix, "application/octet-stream")
        headers = {"Cache-Control": FOR_GOOD}
        response = FileResponse(full_path, status_code, headers, kind, stat_result=stat_result)
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response


class Page:
    """Serves ``index.html`` to those whom ``door`` lets in; others are led to where they sign in."""

    def __init__(self, door: Door, *, can_sign_in: bool, folder: Path = FOLDER) -> None:
        self._door = door
        self._can_sign_in = can_sign_in
        self._folder = folder

    async def show(self, request: Request) -> Response:
        """Any place in the page. Raises ``Refusal`` for what is none: a script or picture that is not there.

        Browsers say that they go somewhere by asking for HTML.
        """
        base = request.scope.get("root_path", "").rstrip("/")
        path = request.url.path.removeprefix(base)
        if path.strip("/") and "text/html" not in request.headers.get("accept", ""):
            raise missing(f"there is no {path}", "the JSON API is below /api/v1, and told by /api/v1/openapi.json")
        try:
            await self._door.who(request)
        except Refusal as refusal:
            if refusal.status == HTTPStatus.UNAUTHORIZED and self._can_sign_in:
                here = path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"{base}/auth/signin?next={quote(here, safe='')}", HTTPStatus.SEE_OTHER)
            return bare(refusal)
        text = await asyncio.to_thread(self._text, escape(f"{base}/"))
        return _revalidated(request, text)

    def _text(self, base: str) -> str:
        try:
            return (self._folder / "index.html").read_text(encoding="utf-8").replace(BASE, base)
        except OSError:
            return _BARE.format(title="The page is not built", text=_UNBUILT.format(base=base))


def bare(refusal: Refusal) -> Response:
    """A refusal for those who see it in a browser."""
    text = f"<p>{escape(refusal.text)}</p><p>{escape(refusal.advice)}</p>"
    page = _BARE.format(title=escape(refusal.status.phrase), text=text)
    return HTMLResponse(page, refusal.status, {"Cache-Control": "no-store", **refusal.headers})


def _revalidated(request: Request, text: str) -> Response:
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {"Cache-Control": "no-cache", "ETag": etag, "Vary": "Cookie, Authorization"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return HTMLResponse(text, headers=headers)
