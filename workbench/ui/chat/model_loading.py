"""A screen whose model can be swapped: chosen, loaded again, or replaced by its next quantization."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePath

from textual import work
from textual.worker import Worker, WorkerCancelled, WorkerFailed, get_current_worker

from workbench.core.engine import Engine
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.core.models import ModelEntry, variants_of
from workbench.core.parameters import Value
from workbench.core.recipe import Recipe
from workbench.ui.chat.view import LiveScreen
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.services import Services
from workbench.ui.transcript.notice import Notice
from workbench.ui.transcript.swap_card import SwapCard
from workbench.ui.workspace.pacing import Clocks
from workbench.ui.workspace.workspace import NOTHING


class LoadScreen(LiveScreen):
    """Loads models for the conversation.

    Args:
        services: What the program works with.
        clocks: What the time is read from.
        key_for: Tells the key that a binding has.
    """

    def __init__(self, services: Services, clocks: Clocks, key_for: Callable[[str], str]) -> None:
        super().__init__(services, clocks, key_for)
        self._loading: Worker[None] | None = None
        self._wanted: ModelEntry | None = None
        """The quantization that is being swapped to."""
        self._card: SwapCard | None = None

    async def _stop_answer(self) -> None:
        """Stop the answer that streams, and wait for its end."""

    def _load_ended(self, engine: Engine | None) -> None:
        """Take the last load that was asked for, now that it has ended; None for one that failed."""

    def action_models(self) -> None:
        """Choose a model."""
        from workbench.ui.dialogs.model_picker import ModelPicker

        services = self._services
        picker = ModelPicker(services.catalog, self.desk.model, services.no_model_hint, services.servers)
        self.app.push_screen(picker, self._chosen)

    def _chosen(self, model: ModelEntry | None) -> None:
        if model is not None:
            self.load_model(model.ref, model.label)

    def action_reload(self) -> None:
        """Load the open model again."""
        if (model := self.desk.model) is not None:
            self.load_model(model.ref, model.label, NOTHING)
        else:
            self.action_models()

    @work(group="cycle", exit_on_error=False, description="swap to the next quantization")
    async def action_cycle(self) -> None:
        """Swap to the next larger quantization of the open model, and from the largest to the smallest."""
        if (self._wanted or self.desk.model) is None:
            self.action_models()
            return
        try:
            models = await self._services.catalog.models()
        except WorkbenchError as error:
            self._add(Notice.of(error))
            return
        # Looked at only now: with the key pressed twice, the second press goes on from where the first one led.
        here = self._wanted or self.desk.model
        if here is None:
            return
        at_hand = [model for model in variants_of(here, models) if not model.problem or model.is_same(here)]
        index = next((index for index, model in enumerate(at_hand) if model.is_same(here)), -1)
        following = at_hand[(index + 1) % len(at_hand)] if at_hand else here
        if following.is_same(here):
            self.say(f"There is no other quantization of {here.name} at hand.")
            return
        self._wanted = following
        self.load_model(following.ref, following.label)

    def load_model(self, ref: str, label: str, recipe: Recipe | None = None) -> None:
        """Load a model for the conversation. A load that goes on is stopped, and so is an answer.

        Args:
            ref: What names it.
            label: What to call it until it is open.
            recipe: What the conversation takes of its Modelfile: nothing, where it goes on with what it had; None for
                everything.
        """
        if self._wanted is not None and self._wanted.ref != ref:
            self._wanted = None
        self._loading = self._load(ref, label, recipe, self._loading)

    @work(group="load", exit_on_error=False, description="load a model")
    async def _load(self, ref: str, label: str, recipe: Recipe | None, before: Worker[None] | None) -> None:
        await self._stop_answer()
        if before is not None and not before.is_finished:
            self.desk.stop()
            with suppress(WorkerFailed, WorkerCancelled):
                await before.wait()
        if self._loading is not get_current_worker():
            # Another model was chosen while this one waited for its turn.
            return
        self._begin_work()
        engine: Engine | None = None
        try:
            if recipe is None:
                recipe = await self._services.catalog.find_recipe(ref) or NOTHING
            had = len(self.desk.conversation.turns)
            engine = await self.desk.open(ref, label, recipe)
            await self._show_opening(recipe, had)
            if engine.info.model.recipe is not None and recipe is not NOTHING:
                self._add(Notice(brought(engine.info.model, recipe), severity="information"))
        except CancelledError:
            self.say(f"Loading {label} was stopped.")
        except WorkbenchError as error:
            self._services.logs.add("error", "load", str(error))
            self._add(Notice.of(error))
        else:
            self._show_loaded(engine)
        finally:
            self._set_busy()
        if self._loading is get_current_worker():
            self._wanted = None
            self._load_ended(engine)

    async def _show_opening(self, recipe: Recipe, had: int) -> None:
        """Show the turns that a Modelfile has put at the beginning, before what was written while it was loaded."""
        if not recipe.messages:
            return
        if had:
            key = self._key_for("chat.new")
            text = "The messages of the Modelfile stand at the beginning of a new chat"
            self._add(Notice(f"{text} ({key}); this one had begun.", severity="information"))
            return
        waiting = None if self._queued is None else self.transcript.user_turn(self._queued[0])
        await self.transcript.show_tree(self.desk.conversation.tree, {}, show_thoughts=True)
        if self._queued is not None and waiting is not None:
            self._queued = (self._queued[0], waiting)
            self._add(waiting)

    def _show_loaded(self, engine: Engine) -> None:
        info = engine.info
        self.say(f"{info.model.label} is ready: loaded in {fmt.milliseconds(info.load_ms)}.")
        self._card = None
        if (swap := self.desk.track.swap) is not None:
            self._card = SwapCard(swap)
            self._add(self._card)
        for warning in info.warnings:
            self._add(Notice(warning, severity="warning"))

    def _show_speeds(self) -> None:
        """Bring the figures of the last swap up to date."""
        if self._card is not None and (swap := self.desk.track.swap) is not None:
            self._card.show(swap)


SHOWN_PARAMETERS = 4
"""So many parameters are told with their values."""


def brought(model: ModelEntry, taken: Recipe) -> str:
    """What came of a model's Modelfile, such as `The Modelfile brings a system prompt and temperature 0.2`.

    Args:
        model: The model that is open, with its recipe.
        taken: What the conversation took of it.
    """
    own = model.recipe or Recipe()
    parts = [f"the adapter {PurePath(own.adapter).name}"] if own.adapter else []
    parts += ["a chat template"] if own.template else []
    parts += ["a system prompt"] if taken.system else []
    parts += [f"{name} {_short(value)}" for name, value in taken.parameters[:SHOWN_PARAMETERS]]
    if more := len(taken.parameters) - SHOWN_PARAMETERS:
        parts += [f"{more} more {'parameter' if more == 1 else 'parameters'}"] if more > 0 else []
    if count := len(taken.messages):
        parts.append("a message" if count == 1 else f"{count} messages")
    *most, last = parts or ["the model alone"]
    listed = f"{', '.join(most)} and {last}" if most else last
    return clean_line(f"The Modelfile brings {listed}.")


def _short(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(repr(text) if len(text) <= 12 else f"{text[:11]!r}…" for text in value[:3])
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
