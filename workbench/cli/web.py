"""`workbench --web`: the full-screen program in a browser of this machine, by textual-serve.

Whoever reaches the page can do what its user can. It is served on the loopback alone, and needs the key that is
printed: other users of the machine reach the loopback too, and so do the pages that a browser shows. These are told by
`Origin`, and where they have bound their own name to the loopback, by `Host`.
"""

from __future__ import annotations

import argparse
import hmac
import secrets
import shlex
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from textual_serve.server import Server
from typing_extensions import override

from workbench.cli.output import note
from workbench.core.errors import WorkbenchError

HOST = "127.0.0.1"
PAGE = Path(__file__).parent / "page"
"""The folder of the page, in place of the one of textual-serve, which asks another server for its font."""
CLOSE_SECONDS = 5.0
"""How long the programs of open pages have to end."""
_HEADERS = {
    # The script of the page would fetch an address out of its own query.
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data:; connect-src 'self' ws://{address}; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScreenServer(Server):
    """Serves a page that starts `command` for each visit, to those who have the key."""

    def __init__(self, command: str, port: int) -> None:
        super().__init__(command, host=HOST, port=port, title="workbench", templates_path=PAGE)
        self.address = f"{HOST}:{port}"
        self.key = secrets.token_urlsafe(24)
        self._cookie = f"workbench-{port}"

    async def app(self) -> web.Application:
        """The web application."""
        app = await self._make_app()
        app.middlewares.append(self._guard)
        return app

    @override
    async def on_startup(self, app: web.Application) -> None:
        note(f"workbench: http://{self.address}/?key={self.key}")
        note("  The screen is there, for a browser of this machine. Ctrl+C ends.")

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let in whoever has the key, from no page but our own."""
        origin = request.headers.get("Origin")
        foreign = origin != f"http://{self.address}" if origin is not None else request.path == "/ws"
        if request.host != self.address or foreign:
            raise web.HTTPForbidden(text=f"The screen is at http://{self.address}, for no other page.\n")
        if request.path == "/" and self._is_key(request.query.get("key", "")):
            found = web.HTTPSeeOther("/")
            found.set_cookie(self._cookie, self.key, httponly=True, samesite="Strict")
            raise found
        if not self._is_key(request.cookies.get(self._cookie, "")):
            raise web.HTTPForbidden(text="Open the address that `workbench --web` printed: it has the key.\n")
        response = await handler(request)
        if not response.prepared:
            response.headers.update({name: text.format(address=self.address) for name, text in _HEADERS.items()})
        return response

    def _is_key(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.key.encode())


def serve_screen(options: argparse.Namespace) -> int:
    """Serve until Ctrl+C.

    Raises:
        WorkbenchError: The port is taken.
    """
    try:
        listener = socket.create_server((HOST, options.port))
    except (OSError, OverflowError) as error:
        raise WorkbenchError(
            f"Nothing can listen on {HOST}, port {options.port}: {getattr(error, 'strerror', None) or error}.",
            "Another program may use it: choose another --port; 0 takes any that is free.",
        ) from None
    server = ScreenServer(command_of(options), listener.getsockname()[1])
    web.run_app(server.app(), sock=listener, print=None, access_log=None, shutdown_timeout=CLOSE_SECONDS)
    return 0


def command_of(options: argparse.Namespace) -> str:
    """The command line of the program in the page, for a shell."""
    names = ("resume", "system", "seed", "max_tokens", "format", "schema", "grammar")
    given = [(name.replace("_", "-"), getattr(options, name)) for name in names]
    words = [f"--{name}={value}" for name, value in given if value is not None]
    words += [f"--set={each}" for each in options.set]
    words += [options.model] if options.model else []
    command = [sys.executable, "-P", "-m", "workbench.cli.main", *words]
    return subprocess.list2cmdline(command) if sys.platform == "win32" else shlex.join(command)
