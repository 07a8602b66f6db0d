"""What-if keys: other load settings, tried on the model in hand before it is loaded."""

from __future__ import annotations

from textual import on
from textual.widgets import Input

from workbench.core.errors import ParameterError
from workbench.core.parameters import Value
from workbench.ui.models.browser import ModelListScreen
from workbench.ui.models.what_if import BATCHES, FLASH, next_context, typed_context


class TrialScreen(ModelListScreen):
    """Prices the model in hand with other settings, key by key.

    Args:
        services: What the program works with.
        desk: The conversation of the chat: its model and its settings.
        key_for: Tells the key that a binding has.
    """

    def _try(self, name: str, value: Value) -> None:
        try:
            self.fitter.what_if = self.fitter.what_if.put(name, value)
        except ParameterError as error:
            self.say(str(error))
        self._show_panel(top=False)

    def action_context(self, step: int) -> None:
        """Try a longer or shorter context."""
        model = self.shelf.model
        answer = self.fitter.answer(model) if model is not None else None
        now = answer.question.n_ctx if answer else self.fitter.what_if.settings.num_ctx or 8192
        self._try("num_ctx", next_context(now, step, answer.trained if answer else None))

    def action_longest(self) -> None:
        """Try the longest context that fits."""
        model = self._wanted()
        answer = self.fitter.answer(model) if model is not None else None
        if answer is not None and answer.largest:
            self._try("num_ctx", answer.largest)
        elif answer is not None:
            self.say("No context fits with these settings.")

    def action_number(self) -> None:
        """Ask for a context."""
        self._ask_context("")

    def _ask_context(self, begun: str) -> None:
        self.number.value = begun
        self._open_line(self.number)
        self.number.cursor_position = len(begun)

    @on(Input.Submitted, "#models-number")
    def _take_context(self, event: Input.Submitted) -> None:
        try:
            tokens = typed_context(event.value) if event.value.strip() else None
        except ParameterError as error:
            self.say(str(error))
            return
        self._close_line(self.number)
        if tokens is not None:
            self._try("num_ctx", tokens)

    def action_next(self, name: str) -> None:
        """Try the next value of a setting."""
        what_if = self.fitter.what_if
        if name == "type_k":
            self.fitter.what_if = what_if.turn_keys()
        elif name == "type_v":
            self.fitter.what_if = what_if.turn_values()
        else:
            self.fitter.what_if = what_if.turn(name, FLASH if name == "flash_attn" else BATCHES)
        self._show_panel(top=False)

    def action_layers(self, step: int) -> None:
        """Try more or fewer layers on the GPUs."""
        model = self._wanted()
        answer = self.fitter.answer(model) if model is not None else None
        if answer is None:
            return
        if not answer.gpus:
            self.say("This build of llama.cpp sees no GPU.")
            return
        self._try("num_gpu", max(0, min(answer.layers, answer.fit.gpu_layers + step)))

    def action_reset(self) -> None:
        """Go back to the settings of the conversation."""
        self.fitter.what_if = self.fitter.what_if.reset()
        self._show_panel(top=False)
