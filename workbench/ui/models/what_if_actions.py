"""The what-if keys: each changes a load setting on trial and shows the new estimate."""

from __future__ import annotations

from collections.abc import Callable

from workbench.core.errors import ParameterError
from workbench.core.models import ModelEntry
from workbench.core.parameters import Value
from workbench.ui.models.fit import FitEstimate, FitEstimator
from workbench.ui.models.what_if import next_context, typed_context


class WhatIfActions:
    """Tries other load settings on the selected model.

    Args:
        estimator: Holds the settings on trial.
        selected: Gives the selected model; None where it is a heading.
        say: Shows a message.
        changed: Called after a setting has changed.
    """

    def __init__(
        self,
        estimator: FitEstimator,
        selected: Callable[[], ModelEntry | None],
        say: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._estimator = estimator
        self._selected = selected
        self._say = say
        self._changed = changed

    def change(self, name: str, step: int) -> None:
        """Try the value of a setting that comes next.

        Args:
            name: The parameter, `longest` for the longest context that fits, or `reset`.
            step: 1 for more of it, -1 for less, where there is an order.
        """
        match name:
            case "num_ctx":
                self._change_context(step)
            case "longest":
                self._take_longest_context()
            case "num_gpu":
                self._change_layers(step)
            case "reset":
                self._estimator.what_if = self._estimator.what_if.reset()
                self._changed()
            case _:
                self._estimator.what_if = self._estimator.what_if.next(name)
                self._changed()

    def try_context(self, text: str) -> bool:
        """Try the context that was typed; no text changes nothing. Returns whether it could be read."""
        try:
            tokens = typed_context(text) if text.strip() else None
        except ParameterError as error:
            self._say(str(error))
            return False
        if tokens is not None:
            self._try("num_ctx", tokens)
        return True

    def _try(self, name: str, value: Value) -> None:
        try:
            self._estimator.what_if = self._estimator.what_if.put(name, value)
        except ParameterError as error:
            self._say(str(error))
        self._changed()

    def _estimate(self) -> FitEstimate | None:
        model = self._selected()
        return self._estimator.estimate(model) if model is not None else None

    def _change_context(self, step: int) -> None:
        estimate = self._estimate()
        now = estimate.question.n_ctx if estimate else self._estimator.what_if.settings.num_ctx or 8192
        self._try("num_ctx", next_context(now, step, estimate.trained if estimate else None))

    def _take_longest_context(self) -> None:
        estimate = self._estimate()
        if estimate is not None and estimate.largest:
            self._try("num_ctx", estimate.largest)
        elif estimate is not None:
            self._say("No context fits with these settings.")

    def _change_layers(self, step: int) -> None:
        estimate = self._estimate()
        if estimate is None:
            return
        if not estimate.gpus:
            self._say("This build of llama.cpp sees no GPU.")
            return
        self._try("num_gpu", max(0, min(estimate.layers, estimate.fit.gpu_layers + step)))
