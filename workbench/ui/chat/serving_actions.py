"""Serving the model of the chat to other programs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from textual.content import Content

from workbench.core.errors import WorkbenchError
from workbench.core.origins import set_names
from workbench.ui.chat.model_loading import ModelLoader
from workbench.ui.chat.view import ChatView
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.text import styled
from workbench.ui.transcript.notice import Notice

if TYPE_CHECKING:
    # Imported when a model is served, and not before the first paint.
    from textual.timer import Timer

    from workbench.core.serving import ServedModel, Serving

LOOK_SECONDS = 1.0
"""How often the status line counts who asks."""


class ServingActions:
    """Starts and ends the service of the open model, and has it follow the model of the chat."""

    def __init__(self, view: ChatView, loader: ModelLoader) -> None:
        self._view = view
        self._workspace = view.workspace
        self._loader = loader
        self._serving: Serving | None = None
        """Made when a model is first served."""
        self._waits = False
        """Whether the service begins with the end of the load that runs."""
        self._timer: Timer | None = None
        loader.on_load = self._load_changed
        view.status.idle = self._status

    def toggle(self) -> None:
        """Serve the open model; where it is served, show who asks."""
        if self._serving is not None and self._serving.url:
            self._show(self._serving)
        else:
            self._view.run(self._try_to_start(), "serve", "serve the model")

    async def _try_to_start(self) -> None:
        try:
            await self.start()
        except WorkbenchError as error:
            self._view.add_error(error)

    async def start(self, where: str = "") -> None:
        """Serve the open model at an address such as `:8080` or `0.0.0.0:8080`; empty for the usual one.

        Raises:
            WorkbenchError: There is no model, or it cannot be served there.
        """
        from workbench.core.serving import AT_ONCE, KEY_VARIABLE, ServingAddress

        make, engine = self._view.services.serving, self._workspace.engine
        if make is None or engine is None:
            raise WorkbenchError("There is no model to serve.", f"Choose one ({self._view.key_for('chat.models')}).")
        address = ServingAddress.parse(where, os.environ.get(KEY_VARIABLE, ""))
        await self.stop()
        self._serving = self._serving or make()
        self._serving.listen(address)
        if engine.info.measured_by == "engine" and engine.info.settings.num_parallel < 2:
            # One slot is that of the chat.
            self._waits = True
            await self._workspace.change(self._workspace.conversation.system, {"num_parallel": AT_ONCE})
            self._loader.reload()
        else:
            self._begin()

    def _begin(self) -> None:
        model, serving = self._model(), self._serving
        self._waits = False
        if model is None or serving is None:
            return
        serving.start(model)
        key = self._view.key_for("chat.serve")
        text = f"{model.name} is served at {serving.url}/v1, as OpenAI's, Anthropic's and Ollama's API."
        self._view.add(Notice(text, f"{key} shows who asks, and stops it.", severity="information"), "serving")
        if self._timer is None:
            self._timer = self._view.app.set_interval(LOOK_SECONDS, self._view.status.show)
        self._timer.resume()
        self._view.status.show()

    def _model(self) -> ServedModel | None:
        from workbench.core.serving import ServedModel

        engine, conversation = self._workspace.engine, self._workspace.conversation
        if engine is None:
            return None
        recipe = engine.info.model.recipe
        return ServedModel(
            engine,
            engine.info.model.label.replace(" ", ":"),
            conversation.sampling,
            set_names(conversation.origins),
            conversation.system,
            recipe.messages if recipe is not None else (),
            conversation.when_context_full,
            shared=True,
        )

    def _load_changed(self, loading: bool) -> None:
        """The service follows the model of the chat; while one is loaded, requests are told to come back."""
        serving = self._serving
        if self._waits and not loading:
            self._begin()
        elif serving is not None and serving.url:
            serving.use(None if loading else self._model())

    async def stop(self) -> None:
        """End the service, if there is one."""
        if self._serving is None:
            return
        was_served = bool(self._serving.url)
        await self._serving.stop()
        if self._timer is not None:
            self._timer.pause()
        if was_served:
            self._view.transcript.clear("serving")
            self._view.status.say("The model is no longer served.")

    def _show(self, serving: Serving) -> None:
        from workbench.ui.chat.serving_dialog import ServingDialog

        def closed(stop: bool | None) -> None:
            if stop:
                self._view.run(self.stop(), "serve", "end the service")

        self._view.app.push_screen(ServingDialog(serving), closed)

    def _status(self) -> Content:
        serving = self._serving
        if serving is None or not serving.url:
            return Content("")
        running = sum(request.running for request in serving.requests())
        asked = f"  {fmt.counted(running, 'request')} now" if running else ""
        key = self._view.key_for("chat.serve")
        return styled(("◆ ", "gauge--bar"), (f"served at {serving.url}{asked}  ", ""), (key, "gauge--value"))
