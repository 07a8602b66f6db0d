"""An HTTP proxy on a real socket, which forwards every request to one server, whatever host it is for."""

from __future__ import annotations

import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit


@contextmanager
def forwarding(server: str) -> Iterator[tuple[str, list[str]]]:
    """The address of the proxy, and the URLs that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def _forward(self) -> None:
            asked.append(self.path)
            target = urlsplit(self.path)
            url = f"{server}{target.path}{f'?{target.query}' if target.query else ''}"
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            request = urllib.request.Request(url, headers=headers, method=self.command)
            try:
                answer = _OPENER.open(request)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                self.send_response(HTTPStatus(answer.status))
                for name, value in answer.headers.items():
                    if name.lower() not in {"date", "server", "transfer-encoding"}:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.read())

        do_GET = do_HEAD = _forward

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", asked
    finally:
        proxy.shutdown()
        proxy.server_close()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the client of the proxy."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
