"""The log-probabilities of tokens, as OpenAI's chat API, llama-server, vLLM and Ollama send them.

Each is `{token, logprob, bytes, top_logprobs: [{token, logprob, bytes}]}`. `bytes` may be missing or null. OpenAI sends
-9999 for a token that is not among the 20 likeliest, llama-server -3.4e38 for a probability of 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from workbench.core.alternatives import LikelyToken, TokenChoice

MOST = 64
"""Alternatives that are taken at one place, however many a server sends."""
_LEAST = -9998.0
"""Log-probabilities from here down are no figures."""


def read_choices(values: object) -> tuple[TokenChoice, ...]:
    """The choices in a list of log-probabilities; what has another form is skipped."""
    return tuple(_choices(values)) if isinstance(values, list) else ()


def _choices(values: list[object]) -> Iterator[TokenChoice]:
    for value in values:
        written = _token(value)
        if written is not None and isinstance(value, dict):
            top = value.get("top_logprobs")
            found = [_token(each) for each in (top[:MOST] if isinstance(top, list) else ())]
            likely = [each for each in found if each is not None and each.logprob > _LEAST]
            yield TokenChoice(written, tuple(sorted(likely, key=lambda each: -each.logprob)))


def _token(value: object) -> LikelyToken | None:
    if not isinstance(value, dict):
        return None
    logprob, text, data = value.get("logprob"), value.get("token"), value.get("bytes")
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or not isinstance(text, str):
        return None
    if math.isnan(logprob):
        return None
    if isinstance(data, list) and data and all(isinstance(byte, int) and 0 <= byte < 256 for byte in data):
        return LikelyToken(bytes(data), min(0.0, float(logprob)))
    return LikelyToken(text.encode("utf-8", "replace"), min(0.0, float(logprob)))
