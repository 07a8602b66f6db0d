"""Create a model on an Ollama server from a session: the Modelfile that an export would write, and its files."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.sending import ModelSender, OnSend, SendTarget, Sent
from workbench.core.servers import server_url
from workbench.core.session import Session
from workbench.engine.remote.addresses import AddressBook
from workbench.modelfile.meaning import Modelfile, read


@dataclass(frozen=True)
class SessionSender(ModelSender):
    """Sends sessions to Ollama."""

    text_of: Callable[[Session, str], str]
    """Writes the Modelfile of a session, given the value of FROM; an empty one means the file of the model."""
    addresses: AddressBook
    base: str = ""
    """The value of FROM."""

    @property
    @override
    def usual_server(self) -> str:
        return self.addresses.ollama

    @override
    async def send(self, session: Session, target: SendTarget, on_progress: OnSend, cancel: CancelToken) -> Sent:
        modelfile = await asyncio.to_thread(self._read, session)
        from workbench.engine.remote.http import ServerClient, Timeouts
        from workbench.engine.remote.ollama_create import create_model

        client = ServerClient(self.addresses.address(server_url(target.url)), Timeouts())
        return await create_model(client, modelfile, target.name, on_progress, cancel, overwrite=target.overwrite)

    def _read(self, session: Session) -> Modelfile:
        # Imported here, in a thread, because the HTTP client would block the screen.
        importlib.import_module("workbench.engine.remote.ollama_create")
        return read(self.text_of(session, self.base))
