"""The service of one model, in a thread of its own: neither a screen nor a client waits for the other."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from workbench.core.errors import WorkbenchError
from workbench.core.serving import ServedModel, ServedRequest, Serving, ServingAddress

if TYPE_CHECKING:
    from workbench.serve.server import ApiServer
    from workbench.serve.service import Service

GRACE_S = 2.0
"""How long answers that are written may go on after the end was asked for."""
END_S = 5.0
"""How long the thread is waited for."""


class HttpServing(Serving):
    """Serves over HTTP. Starlette and uvicorn are imported when it starts."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._server: ApiServer | None = None
        self._thread: threading.Thread | None = None
        self._listener: socket.socket | None = None
        self._address = ServingAddress()
        self._url = ""

    @property
    @override
    def url(self) -> str:
        return self._url

    @override
    def listen(self, address: ServingAddress) -> None:
        try:
            from workbench.serve.server import listen
        except ImportError:
            raise WorkbenchError(
                "Serving needs two more packages.", "Install them: pip install 'workbench[serve]'"
            ) from None
        self._listener, self._address = listen(address.host, address.port), address

    @override
    def start(self, model: ServedModel) -> None:
        from workbench.serve.app import Api
        from workbench.serve.server import ApiServer
        from workbench.serve.service import Service

        listener, address = self._listener, self._address
        assert listener is not None
        self._service = service = Service(model)
        self._server = server = ApiServer(Api(service, address).app())
        self._thread = threading.Thread(target=lambda: server.run([listener]), name="serve", daemon=True)
        self._thread.start()
        host, port = listener.getsockname()[:2]
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @override
    def use(self, model: ServedModel | None) -> None:
        if self._service is not None:
            self._service.use(model)

    @override
    def requests(self) -> Sequence[ServedRequest]:
        return () if self._service is None else self._service.requests()

    @override
    async def stop(self) -> None:
        server, thread, listener, service = self._server, self._thread, self._listener, self._service
        self._server = self._thread = self._listener = None
        self._url = ""
        if server is not None and thread is not None:
            self.use(None)
            until = time.monotonic() + GRACE_S
            while service is not None and service.running and time.monotonic() < until:
                await asyncio.sleep(0.05)
            if service is not None:
                service.interrupt()
            server.stop()
            await asyncio.to_thread(thread.join, END_S)
        if listener is not None:
            listener.close()
