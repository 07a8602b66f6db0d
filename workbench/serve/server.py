"""The HTTP server around the application: its socket, and its end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from typing_extensions import override

from workbench.core.errors import WorkbenchError

LAST_S = 2
"""How long responses may take after the end was asked for, when no answer is written any more."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        WorkbenchError: The address is unknown or taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise WorkbenchError(
            f"Nothing can listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}.",
            "Another program may use it: choose another port; 0 takes any that is free.",
        ) from None


class ApiServer(uvicorn.Server):
    """Serves an application until `stop`; signals are left to the program."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=LAST_S,
            )
        )

    def stop(self) -> None:
        """End the service; from any thread."""
        self.should_exit = True

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
