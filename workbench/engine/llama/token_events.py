"""The events of an answer's tokens, whose bytes become text.

Between two tokens the processor's caches hold weights, so that code runs at a tenth of its speed. Tokens whose text
nobody waits for are converted together, when the next batch of events leaves.
"""

from __future__ import annotations

from workbench.core.alternatives import TokenChoice
from workbench.core.events import Token
from workbench.engine.llama.native import PieceCache
from workbench.engine.outbox import Outbox
from workbench.engine.text import AnswerText


class TokenEvents:
    """Converts tokens to events. `each` says whether the text has to be complete after each token."""

    def __init__(self, pieces: PieceCache, text: AnswerText, outbox: Outbox, *, each: bool) -> None:
        self._pieces = pieces
        self._text = text
        self._outbox = outbox
        self._each = each
        self._text_sent = False
        self._waiting: list[tuple[int, int, int, tuple[TokenChoice, ...]]] = []

    def add(self, token: int, now_ns: int, lane_ns: int, choices: tuple[TokenChoice, ...] = ()) -> None:
        """Add a token that was sampled at `now_ns`. The first text of an answer leaves at once."""
        self._waiting.append((token, now_ns, lane_ns, choices))
        if self._each or not self._text_sent or self._outbox.is_due(now_ns):
            self.convert()

    def convert(self) -> None:
        """Make the events of the tokens that wait."""
        text, pieces = self._text, self._pieces
        # One that fails is not tried again by what reports the failure.
        waiting, self._waiting = self._waiting, []
        for token, now_ns, lane_ns, choices in waiting:
            data = pieces[token]
            piece = text.push(data) if data else text.push_control(pieces.control(token))
            first_text = not self._text_sent and bool(piece.text)
            event = Token(piece.text, token, piece.kind, now_ns, lane_ns, piece.recast, choices)
            self._outbox.put(event, at_once=first_text)
            self._text_sent = self._text_sent or first_text
