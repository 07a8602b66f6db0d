"""What is to be measured: the reference, its candidates, the text and the depths, as the user chooses them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from workbench.core.errors import QualityError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.parameters import Value
from workbench.core.session import last_sessions
from workbench.core.user_path import user_path
from workbench.lab.quality.logits import ModelSpec
from workbench.lab.quality.plan import QualityPlan, read_settings, read_text, spec_of, words_of
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.model_picker import ModelPicker
from workbench.ui.experiment.screen import ExperimentScreen

DEPTHS: tuple[tuple[int, ...], ...] = ((0,), (4096,), (16384,), (0, 4096, 16384))
"""What the key of the depth goes through."""
CACHES = {
    "K in q8_0": "type_k=q8_0",
    "V in q8_0": "type_v=q8_0",
    "K and V in q8_0": "type_k=q8_0,type_v=q8_0",
    "K in q8_0, V in q4_0": "type_k=q8_0,type_v=q4_0",
    "K and V in q4_0": "type_k=q4_0,type_v=q4_0",
}
LAST_SESSIONS = 10
SAY_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class QualityChoice:
    """A candidate: a model, or the reference itself where `model` is None, with settings of its own."""

    model: ModelEntry | None
    values: dict[str, Value]

    @property
    def settings(self) -> list[str]:
        """The settings as the command line has them."""
        return [f"{name}={value}" for name, value in self.values.items()]

    def label(self, reference: ModelEntry | None) -> str:
        """Its name beside that of the reference: the quantization alone where that tells them apart."""
        model = self.model
        same = model is not None and reference is not None and model.name == reference.name and model.quant
        name = same or (model.label if model is not None else "")
        return " ".join([*([name] if name else []), *self.settings])

    @property
    def word(self) -> str:
        """How the command line names it."""
        return ",".join([self.model.ref if self.model else "", *self.settings])


class QualitySetup:
    """Holds the choices.

    Args:
        may_change: Whether they can be changed now.
        changed: Called after a change.
    """

    def __init__(self, screen: ExperimentScreen, may_change: Callable[[], bool], changed: Callable[[], object]) -> None:
        self._screen = screen
        self._may_change = may_change
        self._changed = changed
        self._source: tuple[str, ...] = ()
        """The option of the command line that names the text."""
        self.reference: ModelEntry | None = None
        self.candidates: list[QualityChoice] = []
        self.name = ""
        """Of the text."""
        self.text = ""
        self.depths = DEPTHS[0]

    def follow(self, model: ModelEntry | None) -> None:
        """Take the open model as the reference, as long as there is no candidate."""
        if not self.candidates and model is not None:
            self.reference = model

    def add(self) -> None:
        """Let the user choose a candidate, or the reference where there is none."""

        def chosen(model: ModelEntry | None) -> None:
            if model is None or not self._may_change():
                return
            if model.path is None:
                self._screen.say("A server does not report the logits of a text: choose a model file.", SAY_SECONDS)
            elif self.reference is None:
                self.reference = model
            else:
                self.candidates.append(QualityChoice(model, {}))
            self._changed()

        self._screen.app.push_screen(ModelPicker(self._screen.services, self.reference, enter="adds"), chosen)

    def add_cache(self) -> None:
        """Let the user choose settings with which the reference is a candidate."""

        def chosen(found: int | str | None) -> None:
            if found is None or not self._may_change():
                return
            words = found if isinstance(found, str) else list(CACHES.values())[found]
            try:
                self.candidates.append(QualityChoice(None, read_settings(words.split(","), words)))
            except WorkbenchError as error:
                self._screen.say(str(error), SAY_SECONDS)
            self._changed()

        dialog = ChooseDialog("The reference with another cache", list(CACHES), "or settings, such as type_k=q5_1")
        self._screen.app.push_screen(dialog, chosen)

    def remove(self) -> None:
        """Remove the candidate that was added last, and then the reference."""
        if self.candidates:
            self.candidates.pop()
        else:
            self.reference = None

    def choose_text(self) -> None:
        """Let the user choose the text."""

        def chosen(found: int | str | None) -> None:
            if found is not None and self._may_change():
                self._screen.run_worker(
                    self._read(found), group="text", exclusive=True, exit_on_error=False, description="read a text"
                )

        rows = ["the messages of this chat", f"the messages of the last {LAST_SESSIONS} conversations"]
        self._screen.app.push_screen(ChooseDialog("Choose a text", rows, "or the path of a text…"), chosen)

    async def _read(self, found: int | str) -> None:
        try:
            if isinstance(found, str):
                text = await asyncio.to_thread(read_text, user_path(found))
                name, source = found, ("--text", found)
            elif found == 0:
                session = self._screen.workspace.session()
                text, name, source = words_of([session]), "this chat", ("--session", session.id)
            else:
                sessions = await last_sessions(self._screen.services.sessions, LAST_SESSIONS)
                text, name = words_of(sessions), f"the last {len(sessions)} sessions"
                source = "--sessions", str(len(sessions))
        except WorkbenchError as error:
            self._screen.say(str(error), SAY_SECONDS)
            return
        if text:
            self.name, self.text, self._source = name, text, source
        else:
            self._screen.say(f"There is no text in {name}.", SAY_SECONDS)
        self._changed()

    def plan(self) -> QualityPlan:
        """The plan; raises QualityError for what is missing."""
        reference, keys = (
            self.reference,
            {name: self._screen.key_for(f"quality.{name}") for name in ("add", "caches", "text")},
        )
        if reference is None or reference.path is None:
            raise QualityError("A reference is missing: a model file.", f"{keys['add']} chooses it.")
        if not self.candidates:
            raise QualityError("A candidate is missing.", f"{keys['add']} or {keys['caches']} adds one.")
        if not self.text:
            raise QualityError("A text is missing.", f"{keys['text']} chooses it.")
        load = self._screen.workspace.conversation.load
        specs = [spec_of((each.model or reference).ref, load, each.values, each.values) for each in self.candidates]
        depth = ("--depth", ",".join(map(str, self.depths))) if any(self.depths) else ()
        command = ("quality", reference.ref, *(each.word for each in self.candidates), *self._source, *depth)
        return QualityPlan(ModelSpec(reference.ref, load), tuple(specs), self.name, self.text, command=command)
