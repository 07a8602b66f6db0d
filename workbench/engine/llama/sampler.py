"""Sampling: the next token, chosen by llama.cpp's sampler chain."""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from workbench.core.errors import ParameterError
from workbench.core.parameters import Sampling
from workbench.engine.llama import native
from workbench.engine.llama.candidates import MOST_KEPT, Candidates, Logits, Tokens, grouped, likeliest, logits_at
from workbench.engine.llama.native import Pointer, api
from workbench.engine.llama.vocabulary import Vocabulary

_NEUTRAL = 1.0
_MIN_KEEP = 0
_MIROSTAT_M = 100
"""The tokens from which Mirostat 1 estimates the distribution, as in its paper and in llama.cpp."""
_MOST_XTC_THRESHOLD = 0.5
"""Above it two tokens cannot both reach the threshold, so XTC drops none."""

_COLDEST = 1e-6
"""Temperatures below it are 0: a logit divided by them may not be a number."""

_LEAVING_THE_LIKELIEST = frozenset({"top_n_sigma", "top_k", "top_p", "min_p", "temperature", "greedy"})
"""The samplers that never drop the likeliest token."""
_SORTING = frozenset({"typ_p", "top_p", "min_p", "xtc", "mirostat", "adaptive_p", "dist"})

FEW = 1000
"""Candidates that are sorted in less time than the lookup of all tokens takes."""

SHORT_NS = 1_000_000
"""How long a call may keep the interpreter lock. To release it and win it back takes about half as long."""

_NS_PER_TOKEN = 3
_NS_PER_PENALIZED_TOKEN = 4
_NS_PER_SORTED_TOKEN = 150

Steps = Mapping[str, Callable[[], Pointer]]
"""How to make the samplers of a chain, by llama.cpp's names and in their order."""


class Sampler:
    """A sampler chain in the order of llama.cpp's `common/sampling.cpp`.

    First the bias of tokens, -inf for those that the file suppresses; then the samplers that `sampling.samplers` lists;
    then the draw, which adaptive-p replaces where it has a target. Mirostat replaces all samplers but the temperature.
    Samplers that are off are left out.

    At temperature 0, where no sampler can drop the likeliest token, it is found directly: the chain would first copy
    the logits of the whole vocabulary. Where the chain keeps few of the likeliest tokens, as top-k does, it gets those
    that it may keep. Penalties and DRY also see the last tokens of the prompt.

    Where a call takes long, as one that sorts a large vocabulary does, it releases the interpreter lock.

    Raises:
        ParameterError: A bias names a token that the vocabulary does not have.
    """

    def __init__(self, sampling: Sampling, vocabulary: Vocabulary, n_ctx: int, prompt: Sequence[int]) -> None:
        self.seed = sampling.seed if sampling.seed >= 0 else secrets.randbelow(2**32 - 1)
        if sampling.temperature < _COLDEST:
            sampling = replace(sampling, temperature=0.0)
        self._n_vocab = vocabulary.size
        self._chain: Pointer = None
        self._kept = 0
        self._address = 0
        self._logits = np.empty(0, np.float32)
        """The array at the address that llama.cpp gave last, mostly the same for each token."""
        self._groups = grouped(self._logits, 1)
        biases = _biases(sampling, vocabulary)
        windows = [_within(each, n_ctx) for each in (sampling.repeat_last_n, sampling.dry_penalty_last_n)]
        steps = _steps(sampling, vocabulary, self.seed, *windows)
        if "greedy" in steps and not biases and steps.keys() <= _LEAVING_THE_LIKELIEST:
            return
        with_history = "penalties" in steps or "dry" in steps
        per_token = _NS_PER_TOKEN + _NS_PER_PENALIZED_TOKEN * with_history
        per_token += _NS_PER_SORTED_TOKEN * _sorts_all(steps, sampling.top_k)
        is_short = self._n_vocab * per_token <= SHORT_NS
        self._sample = native.sample if is_short else api.llama_sampler_sample
        self._candidates = Candidates(self._n_vocab, native.sampler_apply if is_short else api.llama_sampler_apply)
        self._kept = _kept(steps, sampling, windows[0], biases.values())
        self._chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        if biases:
            array = (api.llama_logit_bias * len(biases))(*biases.items())
            self._add(api.llama_sampler_init_logit_bias(self._n_vocab, len(biases), array))
        for make in steps.values():
            self._add(make())
        if with_history:
            for token in prompt[-max(windows) :]:
                native.sampler_accept(self._chain, token)

    def _add(self, sampler: Pointer) -> None:
        api.llama_sampler_chain_add(self._chain, sampler)

    def sample(self, ctx: Pointer, output: int = -1) -> int:
        """The next token, from the logits at the index `output` of the batch that `ctx` has decoded last."""
        if self._chain is None:
            return int(self.logits(ctx, output).argmax())
        token: int
        if self._kept:
            logits = self.logits(ctx, output)
            found = likeliest(logits, self._groups)
            if found is not None:
                token = self._candidates.choose(self._chain, found, logits[found])
                native.sampler_accept(self._chain, token)
                return token
        token = self._sample(self._chain, ctx, output)
        return token

    def logits(self, ctx: Pointer, output: int = -1) -> Logits:
        """See `logits_of`."""
        address: int = native.logits_address(ctx, output)
        if address != self._address:
            self._address, self._logits = address, logits_at(address, self._n_vocab)
            if self._kept:
                self._groups = grouped(self._logits, self._kept)
        return self._logits

    def choose(self, logits: Logits, tokens: Tokens) -> int:
        """The next token out of some, which is not counted yet: see `accept`.

        The others are left out instead of made impossible: typical-p computes with the logarithm of probabilities.
        """
        if tokens.size < self._n_vocab:
            logits = logits[tokens]
        elif self._kept and (few := likeliest(logits, self._groups)) is not None:
            tokens, logits = few, logits[few]
        if self._chain is None:
            return int(tokens[logits.argmax()])
        return self._candidates.choose(self._chain, tokens, logits)

    def accept(self, token: int) -> None:
        """Count a token that was not sampled."""
        if self._chain is not None:
            native.sampler_accept(self._chain, token)

    def close(self) -> None:
        """Free the native chain."""
        if self._chain is not None:
            api.llama_sampler_free(self._chain)
            self._chain = None


def _within(window: int, n_ctx: int) -> int:
    """A number of last tokens; -1 is the whole context. llama.cpp allocates a place for each of them."""
    return n_ctx if window < 0 else min(window, n_ctx)


def _biases(sampling: Sampling, vocabulary: Vocabulary) -> dict[int, float]:
    """What is added to the logits of tokens, by their ids."""
    found = {}
    for text in sampling.logit_bias:
        token, _, bias = text.partition("=")
        if int(token) >= vocabulary.size:
            raise ParameterError(
                f"logit_bias {text} names no token of this model.", f"Its ids are below {vocabulary.size:,}."
            )
        found[int(token)] = float(bias)
    return found | dict.fromkeys(vocabulary.suppressed, float("-inf"))


def _steps(sampling: Sampling, vocabulary: Vocabulary, seed: int, window: int, dry_window: int) -> Steps:
    """The samplers that have an effect; the last one draws."""
    steps = {"temperature": lambda: api.llama_sampler_init_temp(sampling.temperature)}
    if sampling.mirostat and sampling.temperature > 0:
        return steps | {"mirostat": lambda: _mirostat(sampling, vocabulary, seed)}
    if not sampling.mirostat:
        steps |= _filters(sampling, seed)
        penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
        if window and penalties != (_NEUTRAL, 0.0, 0.0):
            steps["penalties"] = lambda: api.llama_sampler_init_penalties(vocabulary.size, window, *penalties)
        if dry_window and sampling.dry_multiplier > 0:
            steps["dry"] = lambda: _dry(sampling, vocabulary, dry_window)
    ordered = {name: steps[name] for name in sampling.samplers if name in steps}
    if sampling.temperature <= 0 and "temperature" in ordered:
        if ordered.keys().isdisjoint({"typ_p", "xtc"}):
            # All that the other filters could drop is less likely than the token that is taken.
            ordered = {name: ordered[name] for name in ordered if name in ("penalties", "dry", "temperature")}
        ordered["greedy"] = api.llama_sampler_init_greedy
    elif sampling.adaptive_target >= 0:
        target, decay = sampling.adaptive_target, sampling.adaptive_decay
        ordered["adaptive_p"] = lambda: api.llama_sampler_init_adaptive_p(target, decay, seed)
    else:
        ordered["dist"] = lambda: api.llama_sampler_init_dist(seed)
    return ordered


def _filters(it: Sampling, seed: int) -> dict[str, Callable[[], Pointer]]:
    """The samplers that drop tokens and are on."""
    filters: Iterable[tuple[str, bool, Callable[[], Pointer]]] = (
        ("top_n_sigma", it.top_n_sigma > 0, lambda: api.llama_sampler_init_top_n_sigma(it.top_n_sigma)),
        ("top_k", it.top_k > 0, lambda: api.llama_sampler_init_top_k(it.top_k)),
        ("typ_p", it.typical_p < _NEUTRAL, lambda: api.llama_sampler_init_typical(it.typical_p, _MIN_KEEP)),
        ("top_p", it.top_p < _NEUTRAL, lambda: api.llama_sampler_init_top_p(it.top_p, _MIN_KEEP)),
        ("min_p", it.min_p > 0, lambda: api.llama_sampler_init_min_p(it.min_p, _MIN_KEEP)),
        (
            "xtc",
            it.xtc_probability > 0 and it.xtc_threshold <= _MOST_XTC_THRESHOLD,
            lambda: api.llama_sampler_init_xtc(it.xtc_probability, it.xtc_threshold, _MIN_KEEP, seed),
        ),
    )
    return {name: make for name, is_on, make in filters if is_on}


def _mirostat(it: Sampling, vocabulary: Vocabulary, seed: int) -> Pointer:
    if it.mirostat == 1:
        return api.llama_sampler_init_mirostat(vocabulary.size, seed, it.mirostat_tau, it.mirostat_eta, _MIROSTAT_M)
    return api.llama_sampler_init_mirostat_v2(seed, it.mirostat_tau, it.mirostat_eta)


def _dry(it: Sampling, vocabulary: Vocabulary, window: int) -> Pointer:
    breakers = [text.encode() for text in it.dry_sequence_breakers]
    array = (ctypes.c_char_p * len(breakers))(*breakers)
    strength = (it.dry_multiplier, it.dry_base, it.dry_allowed_length)
    return api.llama_sampler_init_dry(vocabulary.native, *strength, window, array, len(breakers))


def _sorts_all(steps: Steps, top_k: int) -> bool:
    """Whether a sampler sorts the whole vocabulary, or takes as long."""
    for name in steps:
        if name == "top_k" and top_k <= FEW:
            return False
        if name in _SORTING:
            return True
    return False


def _kept(steps: Steps, sampling: Sampling, window: int, biases: Collection[float]) -> int:
    """How many of the likeliest tokens the chain may have to see; 0 where it has to see all of them.

    Penalties and biases come first. Where they only lower logits, any other token keeps its rank or rises.
    """
    names, lowered = list(steps), len(biases)
    if names[0] == "penalties":
        if sampling.repeat_penalty < _NEUTRAL or min(sampling.frequency_penalty, sampling.presence_penalty) < 0:
            return 0
        del names[0]
        lowered += window
    if names[0] == "top_k":
        count = sampling.top_k
    elif names == ["temperature", "greedy"]:
        count = 1
    else:
        return 0
    return count + lowered if count + lowered <= MOST_KEPT and max(biases, default=0.0) <= 0 else 0
