"""Loading a model for the conversation: one that was chosen, the open one again, or its next quantization."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from textual.worker import Worker, get_current_worker

from workbench.core.engine import Engine
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.core.kept import SYSTEM
from workbench.core.models import ModelEntry, variants_of
from workbench.core.origins import recommended_text
from workbench.core.parameters import LoadSettings
from workbench.core.recipe import Recipe
from workbench.ui.chat.answers import ChatAnswers
from workbench.ui.chat.view import ChatView
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut
from workbench.ui.transcript.notice import Notice
from workbench.ui.workspace.workspace import NOTHING


class ModelLoader:
    """Loads models, the last one that was asked for; a running answer is stopped, and a message may wait."""

    def __init__(self, view: ChatView, answers: ChatAnswers) -> None:
        self._view = view
        self._workspace = view.workspace
        self._services = view.services
        self._answers = answers
        self._loading: Worker[None] | None = None
        self._wanted: ModelEntry | None = None
        """The quantization that is being swapped to."""
        self.on_load: Callable[[bool], None] = lambda _loading: None
        """Called when a load begins, and when it has ended."""

    def choose(self) -> None:
        from workbench.ui.dialogs.model_picker import ModelPicker

        def chosen(model: ModelEntry | None) -> None:
            if model is not None:
                self.load(model.ref, model.label)

        self._view.app.push_screen(ModelPicker(self._services, self._workspace.model), chosen)

    def reload(self) -> None:
        """Load the open model again with the current settings; where none is open, let the user choose one."""
        if (model := self._workspace.model) is not None:
            self.load(model.ref, model.label, NOTHING)
        else:
            self.choose()

    def cycle(self) -> None:
        """Swap to the next larger quantization of the open model, and from the largest to the smallest."""
        if (self._wanted or self._workspace.model) is None:
            self.choose()
        else:
            self._view.run(self._cycle(), "cycle", "swap to the next quantization")

    async def _cycle(self) -> None:
        try:
            models = await self._services.catalog.models()
        except WorkbenchError as error:
            self._view.add_error(error)
            return
        # Read only now: a second press of the key starts from the model that the first one chose.
        here = self._wanted or self._workspace.model
        if here is None:
            return
        usable = [model for model in variants_of(here, models) if not model.problem or model.is_same(here)]
        index = next((index for index, model in enumerate(usable) if model.is_same(here)), -1)
        following = usable[(index + 1) % len(usable)] if usable else here
        if following.is_same(here):
            self._view.status.say(f"There is no other quantization of {here.name} on this machine.")
        else:
            self._wanted = following
            self.load(following.ref, following.label)

    def load(self, ref: str, label: str, recipe: Recipe | None = None) -> None:
        """Load a model for the conversation; `label` is shown until it is open. A running load or answer is stopped.

        `recipe` is the part of its Modelfile to use: NOTHING for a conversation with its own settings; None for all.
        """
        if self._wanted is not None and self._wanted.ref != ref:
            self._wanted = None
        work = self._load(ref, label, recipe, self._loading)
        self._loading = self._view.run(work, "load", "load a model")

    async def _load(self, ref: str, label: str, recipe: Recipe | None, before: Worker[None] | None) -> None:
        await self._answers.stop()
        await self._view.stop(before)
        if self._loading is not get_current_worker():
            # Another model was chosen while this one waited for its turn.
            return
        self._view.begin_work()
        self._view.transcript.clear("load")
        self.on_load(True)
        engine: Engine | None = None
        asked = self._workspace.conversation.load
        try:
            if recipe is None:
                recipe = await self._services.catalog.find_recipe(ref) or Recipe()
            had = len(self._workspace.conversation.turns)
            engine = await self._workspace.open(ref, label, recipe)
            if recipe.messages and had:
                key = self._view.key_for("chat.new")
                text = "The messages of the Modelfile stand at the beginning of a new chat"
                self._view.add(Notice(f"{text} ({key}); this one had begun.", severity="information"), "load")
            elif recipe.messages:
                await self._view.show_conversation()
            if engine.info.model.recipe is not None and recipe is not NOTHING:
                self._view.add(Notice(brought(engine.info.model, recipe), severity="information"), "load")
        except CancelledError:
            self._view.status.say(f"Loading {label} was stopped.")
        except WorkbenchError as error:
            self._show_refused(error, asked)
        else:
            self._show_loaded(engine, recipe)
        finally:
            self.on_load(False)
            self._view.end_work()
            if self._loading is get_current_worker():
                self._wanted = None
                self._answers.load_ended(engine)

    def _show_refused(self, error: WorkbenchError, asked: LoadSettings) -> None:
        self._view.add_error(error, "load")
        if self._workspace.conversation.load != asked:
            self._view.status.say("The load settings are again those of the last model that was loaded.")

    def _show_loaded(self, engine: Engine, recipe: Recipe) -> None:
        info = engine.info
        self._view.status.say(f"{info.model.label} is ready: loaded in {fmt.milliseconds(info.load_ms)}.")
        self._view.welcome()
        self._view.add_swap()
        if recipe.kept:
            self._view.add(
                Notice(f"Kept for this model: {', '.join(sorted(recipe.kept))}.", severity="information"), "load"
            )
        conversation = self._workspace.conversation
        if text := recommended_text(conversation.sampling, conversation.origins):
            self._view.add(Notice(text, severity="information"), "load")
        for warning in info.warnings:
            self._view.add(Notice(warning, severity="warning"), "load")


SHOWN_PARAMETERS = 4
"""The most parameters that are listed with their values."""
LONGEST_VALUE = 40
"""Columns for one of those values: stop strings may be long and many."""


def brought(model: ModelEntry, taken: Recipe) -> str:
    """A sentence on the effects of a model's Modelfile or of its layers in Ollama's store.

    The conversation uses the part `taken` of them.
    """
    own = model.recipe or Recipe()
    parts = [f"the adapter {PurePath(own.adapter).name}"] if own.adapter else []
    parts += ["a chat template"] if own.template else []
    parts += ["a system prompt"] if taken.system and SYSTEM not in taken.kept else []
    parameters = [(name, value) for name, value in taken.parameters if name not in taken.kept]
    parts += [f"{name} {cut(fmt.value(value), LONGEST_VALUE)}" for name, value in parameters[:SHOWN_PARAMETERS]]
    if (more := len(parameters) - SHOWN_PARAMETERS) > 0:
        parts.append(fmt.counted(more, "more parameter"))
    if count := len(taken.messages):
        parts.append("a message" if count == 1 else f"{count} messages")
    *most, last = parts or ["the model alone"]
    listed = f"{', '.join(most)} and {last}" if most else last
    whose = "Ollama's store" if model.source == "ollama" else "The Modelfile"
    return clean_line(f"{whose} brings {listed}.")
