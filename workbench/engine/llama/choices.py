"""The likeliest tokens at each place of an answer, from the logits that the samplers leave as they are."""

from __future__ import annotations

import math

import numpy as np

from workbench.core.alternatives import LikelyToken, TokenChoice
from workbench.engine.llama.candidates import logits_of
from workbench.engine.llama.model import Model
from workbench.lab.quality.positions import keep


class ChoiceWatch:
    """Looks at the logits of a model after each token; `count` likeliest ones are taken."""

    def __init__(self, model: Model, count: int) -> None:
        self._model = model
        self._count = count
        self._size = model.vocabulary.size

    def choices(self, token: int, output: int = -1) -> tuple[TokenChoice, ...]:
        """The choice of a token that was sampled at the index `output` of the latest batch; none for NaN as a logit."""
        row = logits_of(self._model.native, output, self._size)[np.newaxis]
        found = keep(row, np.asarray([token], np.int32), self._count)
        if not math.isfinite(found.nll[0]):
            return ()
        pairs = zip(found.ids[0].tolist(), found.logprobs[0].tolist(), strict=True)
        return (TokenChoice(self._likely(token, -float(found.nll[0])), tuple(self._likely(*pair) for pair in pairs)),)

    def _likely(self, token: int, logprob: float) -> LikelyToken:
        data = self._model.pieces[token]
        return LikelyToken(data, logprob, "" if data else self._model.pieces.control(token))
