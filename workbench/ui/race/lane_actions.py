"""Changes to the lanes of a race: added, swapped, removed, tuned, compared and exported one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence

from workbench.core.errors import WorkbenchError
from workbench.core.kept import kept_recipe
from workbench.core.models import ModelEntry, variants_of
from workbench.core.tree import Turn
from workbench.lab.race.lane import Lane, LaneSpec
from workbench.lab.race.race import MOST_LANES
from workbench.lab.race.setup import RaceTerms, proposed
from workbench.ui.dialogs.export import free_path
from workbench.ui.experiment.screen import ExperimentScreen
from workbench.ui.quantize.queue import QueuedQuantization
from workbench.ui.race.board import LaneBoard
from workbench.ui.race.lane import LaneColumn
from workbench.ui.race.offer import RaceOffer, made_entry, offer_for
from workbench.ui.workspace.conversation import Conversation

LOOK_SECONDS = 0.1
"""How often it looks whether a model is loaded."""


class LaneActions:
    """Changes the lanes on a board."""

    def __init__(
        self, screen: ExperimentScreen, board: LaneBoard, terms: Callable[[], RaceTerms], changed: Callable[[], object]
    ) -> None:
        self._screen, self._board = screen, board
        self._terms = terms
        self._changed = changed

    def act(self, what: str, column: LaneColumn) -> None:
        """Do what the user asks of a lane."""
        match what:
            case "stop":
                self._board.race.stop(column.lane)
            case "answer_now":
                self.end_thoughts(column.lane)
            case "remove":
                self._ask_to_remove(column)
            case "swap":
                self.choose(column)
            case "tune":
                self._tune(column)
            case "diff":
                self._board.diff = not self._board.diff
                self._changed()
            case "next" | "previous":
                self._go_to_difference(column, 1 if what == "next" else -1)
            case "lens":
                from workbench.ui.race.lens import open_lane_lens

                open_lane_lens(self._screen, self._screen.services, self._board.race, column.lane, self._screen.say)
            case "export":
                self._work(self._export(column.lane), "export a lane", "export")

    def end_thoughts(self, lane: Lane | None = None) -> None:
        """End the thoughts of a lane, or of all."""
        race = self._board.race
        told = race.end_thoughts(lane)
        lanes = race.lanes if lane is None else [lane]
        if told:
            count = "lane" if len(told) == 1 else "lanes"
            self._screen.say("The thoughts end now." if lane else f"The thoughts of {len(told)} {count} end now.")
        elif not any(each.state == "writing" for each in lanes):
            self._screen.say("No answer is being written.")
        elif any(each.engine is not None and each.engine.capabilities.answer_now for each in lanes):
            self._screen.say("The thoughts have ended.")
        else:
            self._screen.say("This server cannot end the thoughts of an answer.")

    def _work(self, work: Coroutine[None, None, None], description: str, group: str = "lanes") -> None:
        self._screen.run_worker(work, group=group, exit_on_error=False, description=description)

    async def propose(self, offer: RaceOffer) -> None:
        """Add the quantizations of the chat's model; where there is only one, offer to make the others."""
        workspace = self._screen.workspace
        while workspace.slot.load is not None:
            offer.say(f"Waiting for {workspace.slot.load.label}, which is being loaded.")
            await asyncio.sleep(LOOK_SECONDS)
        model = workspace.model
        if model is None:
            offer.say(f"No model is open. {offer.add_key} adds one, and a race needs two.", looking=False)
            return
        offer.say("Looking for the quantizations of this model.")
        models: Sequence[ModelEntry] = ()
        try:
            models = await self._screen.services.catalog.models()
        except WorkbenchError as error:
            self._screen.say(str(error))
        found = proposed(model, models)
        offered = offer_for(model, variants_of(model, models), self._screen.services.files) if len(found) < 2 else None
        offer.close()
        if offered is None:
            await self.add(*found)
        else:
            await offer.propose(offered)

    async def begin_with(self, offer: RaceOffer, made: Sequence[QueuedQuantization]) -> bool:
        """Add the models that were made. Returns whether there are lanes to ask."""
        ready = [queued for queued in made if queued.result is not None]
        if len(ready) < len(made):
            self._screen.say(next((str(queued.error) for queued in made if queued.error), "It was stopped."), 8.0)
        if offer.offer is None or not ready:
            offer.close()
            return False
        models = [made_entry(offer.offer.source, queued) for queued in ready]
        if len(models) == 1 or len(ready) < len(made):
            models.insert(0, offer.offer.model)
        offer.close()
        await self.add(*models)
        return True

    async def add(self, *models: ModelEntry) -> None:
        for model in models:
            lane = await self._board.race.add(self._spec(model))
            await self._board.mount(LaneColumn(lane))
        self._changed()

    def _spec(self, model: ModelEntry) -> LaneSpec:
        kept = kept_recipe(self._screen.services.kept.of(model))
        return self._terms().lane(model.ref, model.label, model.recipe, model).keeping(kept)

    def choose(self, instead: LaneColumn | None = None, before: Sequence[ModelEntry] = ()) -> None:
        """Let the user choose a model, for a new lane after those of `before`, or to replace another."""
        if instead is None and len(self._board.race.lanes) >= MOST_LANES:
            self._screen.say(f"A race has {MOST_LANES} lanes at most: remove one first.")
            return
        from workbench.ui.dialogs.model_picker import ModelPicker

        def chosen(model: ModelEntry | None) -> None:
            if model is None:
                return
            work = self.add(*before, model) if instead is None else self._replace(instead, self._spec(model))
            self._work(work, "add a lane")

        self._screen.app.push_screen(ModelPicker(self._screen.services, self._screen.workspace.model), chosen)

    async def _replace(self, column: LaneColumn, spec: LaneSpec) -> None:
        had_focus = column.scroll.has_focus
        new = LaneColumn(await self._board.race.swap(column.lane, spec))
        await self._board.mount(new, after=column)
        await column.remove()
        if had_focus:
            new.scroll.focus()
        self._changed()

    def _ask_to_remove(self, column: LaneColumn) -> None:
        """Remove a lane; ask first where that loses answers."""
        from workbench.ui.dialogs.confirm import ConfirmDialog

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._work(self._remove(column), "remove a lane")

        if column.lane.answers or column.lane.running:
            text = f"Remove {column.lane.label} and its answers from this race?"
            self._screen.app.push_screen(ConfirmDialog("Remove a lane", text, "removes it"), answered)
        else:
            answered(True)

    async def _remove(self, column: LaneColumn) -> None:
        await self._board.race.remove(column.lane)
        await column.remove()
        self._changed()

    def _tune(self, column: LaneColumn) -> None:
        """Change the settings of a lane, which then answers all questions again."""
        from workbench.ui.dialogs.settings import Settings, SettingsDialog

        spec = column.lane.spec

        def chosen(settings: Settings | None) -> None:
            if settings is None:
                return
            if (tuned := spec.changed(settings.values, settings.system)) != spec:
                self._work(self._replace(column, tuned), "change a lane")
            if settings.then in ("save", "keep", "forget"):
                self._screen.say("The settings of a lane are for this race; those of the chat can be saved or kept.")

        self._screen.app.push_screen(
            SettingsDialog(spec.system, column.lane.sampling, spec.load, column.lane.origins), chosen
        )

    def _go_to_difference(self, column: LaneColumn, step: int) -> None:
        if self._board.race.reference is column.lane:
            self._screen.say("This is the reference: the differences are in the other lanes.")
            return
        if not self._board.diff:
            self._board.diff = True
            self._board.paint()
        rows = column.text.differences
        here = round(column.scroll.scroll_y)
        further = [row for row in rows if (row > here if step > 0 else row < here)]
        if not further:
            self._screen.say("There is no further difference." if rows else "The two texts are the same.")
            return
        column.scroll.release_anchor()
        column.scroll.scroll_to(y=further[0] if step > 0 else further[-1], animate=False)

    async def _export(self, lane: Lane) -> None:
        conversation = conversation_of(lane, self._board.race.questions)
        session = conversation.session("", lane.info.model if lane.info else None)
        path = free_path(self._screen.services.export_folder, f"{lane.label} {session.title}", ".modelfile")
        try:
            self._screen.say(
                f"Written to {await self._screen.services.sessions.export(session, 'modelfile', path)}", 8.0
            )
        except WorkbenchError as error:
            self._screen.say(str(error), 8.0)


def conversation_of(lane: Lane, questions: Sequence[str]) -> Conversation:
    """The conversation of a lane, to continue in the chat or to export."""
    spec = lane.spec
    conversation = Conversation(spec.system, lane.sampling, spec.load, origins=lane.origins)
    conversation.begin_with(spec.opening)
    ref = lane.info.model.ref if lane.info else spec.ref
    for question, answer in zip(questions, lane.answers, strict=False):
        outcome = answer.outcome
        conversation.ask(question)
        conversation.answer(Turn(outcome.message, time.time(), ref, outcome.metrics, outcome.reason))
    return conversation
