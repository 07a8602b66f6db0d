"""The lens over an answer whose choices were recorded while it was written: no model computes it again."""

from __future__ import annotations

import numpy as np

from workbench.core.alternatives import ChoiceLog, LikelyToken, TokenChoice
from workbench.lab.quality.lens import Lens
from workbench.lab.quality.positions import TOP, Alternatives, Divergence


def recorded_lens(log: ChoiceLog) -> Lens:
    """The lens of one model over the recorded tokens; what the answer began with before them counts as one token."""
    choices = list(log.choices)
    if log.beginning:
        choices.insert(0, TokenChoice(LikelyToken(log.beginning.encode("utf-8", "replace"), 0.0)))
    ids: dict[tuple[bytes, str], int] = {}

    def number(token: LikelyToken) -> int:
        return ids.setdefault((token.data, token.name), len(ids))

    tokens = tuple(number(choice.written) for choice in choices)
    top = np.full((len(choices), TOP), -1, np.int32)
    logprobs = np.full((len(choices), TOP), -np.inf, np.float32)
    rank = np.zeros(len(choices), np.int32)
    for place, choice in enumerate(choices):
        # A server without alternatives still says how likely the token itself was.
        likely = choice.likeliest[:TOP] or (choice.written,)
        top[place, : len(likely)] = [number(token) for token in likely]
        logprobs[place, : len(likely)] = [token.logprob for token in likely]
        rank[place] = sum(token.logprob > choice.written.logprob for token in choice.likeliest)
    nll = np.asarray([-choice.written.logprob for choice in choices], np.float32)
    own = Alternatives(nll, rank, top, logprobs)
    names = [name.encode("utf-8", "replace") if name else data for data, name in ids]
    pieces = {index: data for index, (data, _) in enumerate(ids)}
    return Lens(tokens, own, Divergence(own, np.zeros_like(nll)), pieces, names, in_turn=False, alone=True)
