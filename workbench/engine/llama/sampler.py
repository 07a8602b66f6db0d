"""Sampling: the next token, chosen by llama.cpp's sampler chain."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence

import numpy as np

from workbench.core.parameters import Sampling
from workbench.engine.llama import native
from workbench.engine.llama.vocabulary import Vocabulary

_MIN_KEEP = 1
_NEUTRAL = 1.0

FEW = 1000
"""Candidates that are sorted in less time than the lookup of all tokens takes."""

SHORT_NS = 1_000_000
"""How long a call may keep the interpreter lock. To release it and win it back takes about half as long."""

_NS_PER_TOKEN = 3
_NS_PER_PENALIZED_TOKEN = 4
_NS_PER_SORTED_TOKEN = 150


class Sampler:
    """A sampler chain: suppressed tokens, penalties, top-k, typical-p, top-p, min-p, temperature, draw.

    At temperature 0 without penalties the likeliest token is found directly: the chain would first copy the logits of
    the whole vocabulary. A repeat window of -1 is the whole context. The penalties count the last tokens of the prompt.

    Where a call takes long, as one that sorts a large vocabulary does, it releases the interpreter lock.
    """

    def __init__(self, sampling: Sampling, vocabulary: Vocabulary, n_ctx: int, prompt: Sequence[int]) -> None:
        self.seed = sampling.seed if sampling.seed >= 0 else secrets.randbelow(2**32 - 1)
        self._n_vocab = n_vocab = vocabulary.size
        window = n_ctx if sampling.repeat_last_n < 0 else sampling.repeat_last_n
        penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
        penalized = window > 0 and penalties != (_NEUTRAL, 0.0, 0.0)
        self._chain: native.Pointer = None
        if sampling.temperature <= 0 and not penalized and not vocabulary.suppressed:
            return
        sorts = sampling.temperature > 0 and not 0 < sampling.top_k <= FEW
        per_token = _NS_PER_TOKEN + _NS_PER_PENALIZED_TOKEN * penalized + _NS_PER_SORTED_TOKEN * sorts
        api = native.api
        self._sample = native.sample if n_vocab * per_token <= SHORT_NS else api.llama_sampler_sample
        self._chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        if suppressed := vocabulary.suppressed:
            biases = (api.llama_logit_bias * len(suppressed))(*((token, -math.inf) for token in suppressed))
            self._add(api.llama_sampler_init_logit_bias(n_vocab, len(suppressed), biases))
        if penalized:
            self._add(api.llama_sampler_init_penalties(n_vocab, window, *penalties))
        if sampling.temperature <= 0:
            self._add(api.llama_sampler_init_greedy())
        else:
            self._add_draw(sampling)
        if penalized:
            for token in prompt[-window:]:
                native.sampler_accept(self._chain, token)

    def _add(self, sampler: native.Pointer) -> None:
        native.api.llama_sampler_chain_add(self._chain, sampler)

    def _add_draw(self, sampling: Sampling) -> None:
        api = native.api
        if sampling.top_k > 0:
            self._add(api.llama_sampler_init_top_k(sampling.top_k))
        if sampling.typical_p < _NEUTRAL:
            self._add(api.llama_sampler_init_typical(sampling.typical_p, _MIN_KEEP))
        if sampling.top_p < _NEUTRAL:
            self._add(api.llama_sampler_init_top_p(sampling.top_p, _MIN_KEEP))
        if sampling.min_p > 0:
            self._add(api.llama_sampler_init_min_p(sampling.min_p, _MIN_KEEP))
        self._add(api.llama_sampler_init_temp(sampling.temperature))
        self._add(api.llama_sampler_init_dist(self.seed))

    def sample(self, ctx: native.Pointer) -> int:
        """The next token, from the logits of the last token that `ctx` has decoded."""
        if self._chain is not None:
            token: int = self._sample(self._chain, ctx, -1)
            return token
        logits = np.ctypeslib.as_array(native.get_logits_ith(ctx, -1), (self._n_vocab,))
        return int(logits.argmax())

    def close(self) -> None:
        """Free the native chain."""
        if self._chain is not None:
            native.api.llama_sampler_free(self._chain)
            self._chain = None
