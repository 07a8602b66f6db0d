"""The divergence lens: each token of an answer, coloured by how much another model's distribution differs there."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen
from textual.worker import Worker

from workbench.core.alternatives import UNLIKELY
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.lab.quality.figures import Figures
from workbench.lab.quality.lens import LEVELS, Alternative, Lens
from workbench.lab.quality.passes import PassProgress
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import beside, cut, cut_line, padded, styled
from workbench.ui.lens.text import FIRST_FLIP, LEVEL_STYLES, LensText
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.lines import Lines
from workbench.ui.widgets.worker_errors import report_worker_error

Look = Callable[[CancelToken, Callable[[PassProgress], None]], Awaitable[Lens]]
"""Computes the lens; the progress comes in any thread. Raises WorkbenchError."""

NEEDS_FILE = "The lens needs a model file: a server does not report the distributions of a text."
SHOWN_PLACES = 6
MOST_LIST = 48
"""Columns of a list of alternatives: the probabilities stay beside their tokens."""
NOTHING_ABOVE = "No other token differs by {:g} or more in this direction."
NOTHING_BELOW = "No other token has a probability below {:g} in this direction."


def short_names(mine: ModelEntry, other: ModelEntry) -> tuple[str, str]:
    """What tells two models apart: the quantizations where they have one name."""
    if mine.name == other.name and mine.quant and other.quant:
        return mine.quant, other.quant
    return mine.label, other.label


@dataclass(frozen=True, slots=True)
class LensChoice:
    """Another token with which the answer is to go on."""

    beginning: bytes
    """The answer up to there, with that token."""
    whole: bytes
    """The answer as it was."""


class LensHead(Lines):
    """The summary, and what is at the cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "lens--title", "lens--dim", "lens--error", "lens--1", "lens--2", "lens--3", "lens--4",
    }  # fmt: skip


class LensLists(Lines):
    """The likeliest tokens of both models at the cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "lens--title", "lens--dim", "lens--chosen", "lens--written", "rows--track",
    }  # fmt: skip


class LensScreen(Screen[LensChoice | None]):
    """Shows a lens while it is computed and afterwards. Ends with the choice of another token, or with None.

    Args:
        look: Computes the lens.
        names: The labels of the reference and the candidate.
        one_model: Whether both are the same, so that only the alternatives are of interest.
        branches: Whether the answer can go on from an alternative.
    """

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#lens-text"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        key("lens.back", "escape", "Back", "Stop, and go back to the conversation."),
        key("lens.next", "n", "Next",
            "Go to the next token whose divergence is above the threshold.", action="next(1)"),
        key("lens.previous", "p,N", "Previous",
            "Go to the token before whose divergence is above the threshold.", action="next(-1)"),
        key("lens.threshold", "t", "Threshold", "Take the next threshold of divergence."),
        key("lens.flip", "m", "First flip", "Go to the first token at which the two have another most likely token."),
        key("lens.worst", "w", "Worst", "Go to the place with the largest divergence, then to the next largest."),
        key("lens.up", "up,k", "Up", "Choose the alternative above.", action="choose(-1)", show=False),
        key("lens.down", "down,j", "Down", "Choose the alternative below.", action="choose(1)", show=False),
        key("lens.side", "tab", "Other list", "Choose from the other model's alternatives."),
        key("lens.branch", "enter", "Continue with it",
            "Continue the conversation from the chosen alternative, in a branch."),
    ]
    # fmt: on

    head = query_one(LensHead)
    text = query_one(LensText)
    lists = query_one(LensLists)

    def __init__(self, look: Look, names: tuple[str, str], *, one_model: bool = False, branches: bool = True) -> None:
        super().__init__()
        self._look = look
        self._names = clean_line(names[0]), clean_line(names[1])
        self._one_model = one_model
        self._branches = branches
        self._cancel = CancelToken()
        self._lens: Lens | None = None
        self._figures: Figures | None = None
        self._state = "Preparing…"
        self._failed = False
        self._worst: list[int] = []
        self._level = 2
        self._chosen = 0
        self._of_candidate = False

    def compose(self) -> ComposeResult:
        yield LensHead()
        yield LensText()
        yield LensLists()
        yield KeyBar()

    def on_mount(self) -> None:
        self._show()
        self._compute()

    def on_resize(self) -> None:
        self._show()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_worker_error(event, self._fail)

    @work(group="lens", exclusive=True, exit_on_error=False, description="compute the lens")
    async def _compute(self) -> None:
        try:
            self._lens = await self._look(self._cancel, self._progress)
        except CancelledError:
            return
        except WorkbenchError as error:
            self._fail(str(error))
            return
        if not self.is_attached:
            return
        self._figures, self._worst = self._lens.summary(), self._lens.worst_places()
        self._state = self._lens.kept
        self.text.open(self._lens)
        self._show()

    def _progress(self, progress: PassProgress) -> None:
        self.app.call_later(self._say_progress, f"{progress.phase} {progress.fraction:.0%}")

    def _say_progress(self, text: str) -> None:
        # The last one may arrive after the end.
        if self._lens is None and not self._failed:
            self._say(text)

    def _fail(self, text: str) -> None:
        self._failed = True
        self._say(text)

    def _say(self, text: str) -> None:
        self._state = text
        if self.is_attached:
            self._show()

    # Drawing

    def _show(self) -> None:
        width = max(20, self.size.width - 2)
        self.head.set_lines([cut_line(line, width) for line in self._head_lines()])
        self.lists.set_lines([cut_line(line, width) for line in self._list_lines(width)])

    def _head_lines(self) -> list[Content]:
        mine, other = self._names
        title = f"{mine}: alternatives" if self._one_model else f"{mine} → {other}"
        lines = [styled((title, "lens--title"), *self._summary())]
        if self._state:
            lines.append(styled((clean_line(self._state), "lens--error" if self._failed else "lens--dim")))
        if self._lens is None:
            return lines
        lens, place = self._lens, self.text.place
        kld = float(lens.candidate.kld[place])
        p, q = (math.exp(-each.nll[place]) for each in (lens.reference, lens.candidate.own))
        ranks = lens.reference.rank[place] + 1, lens.candidate.own.rank[place] + 1
        name = repr(lens.name(lens.tokens[place]))
        here = f"token {place + 1} of {len(lens)} {clean_line(name)}: "
        if self._one_model:
            here += f"probability {p:.1%}, rank {ranks[0]}"
        else:
            here += f"KLD {kld:.4f}, probability {p:.1%} → {q:.1%}, rank {ranks[0]} → {ranks[1]}"
        lines.append(styled((here, "")))
        sign, limits, what = ("<", UNLIKELY, "probability ") if self._one_model else ("≥", LEVELS, "KLD ")
        shades = [(f" {sign} {limit:g} ", style) for limit, style in zip(limits, LEVEL_STYLES[1:], strict=True)]
        note = f"  n/p from {limits[self._level - 1]:g}  underlined: another top token, {FIRST_FLIP} the first"
        if self._one_model:
            note = f"  n/p below {limits[self._level - 1]:g}"
        lines.append(styled((what, "lens--dim"), *shades, (note, "lens--dim")))
        figure = (lambda at: math.exp(-lens.reference.nll[at])) if self._one_model else lens.candidate.kld.__getitem__
        places = (f"{at + 1} {lens.name(lens.tokens[at])!r} {figure(at):.3f}" for at in self._worst[:SHOWN_PLACES])
        lines.append(styled(("worst (w)  ", "lens--dim"), (clean_line("  ".join(places)), "")))
        return lines

    def _summary(self) -> list[tuple[str, str]]:
        found = self._figures
        if found is None or self._one_model:
            return []
        interval = found.kld_interval
        ends = "" if interval is None else f" [{interval[0]:.4f}, {interval[1]:.4f}]"
        few = "" if interval else " (one answer does not show how much answers differ: no interval)"
        bound = " at least" if self._lens is not None and self._lens.in_turn else ""
        flip = "none" if found.first_flip is None else f"{found.first_flip + 1}"
        figures = f"  mean KLD{bound} {found.mean_kld:.4f}{ends}, same top {found.same_top:.1%}, first flip {flip}"
        return [(figures, ""), (few, "lens--dim")]

    def _alternatives(self, *, of_candidate: bool) -> list[Alternative]:
        return [] if self._lens is None else self._lens.alternatives(self.text.place, of_candidate=of_candidate)

    def _list_lines(self, width: int) -> list[Content]:
        if self._lens is None:
            return []
        room = min(MOST_LIST, (width - 3) // 2)
        if self._one_model:
            return self._list(self._names[0], min(MOST_LIST, width), of_candidate=False)
        mine, other = (self._list(self._names[side], room, of_candidate=bool(side)) for side in (0, 1))
        return beside(mine, other, room)

    def _list(self, name: str, width: int, *, of_candidate: bool) -> list[Content]:
        lines = [styled((cut(name, width), "lens--title"))]
        for number, each in enumerate(self._alternatives(of_candidate=of_candidate)):
            chosen = number == self._chosen and of_candidate == self._of_candidate
            mark = "▸" if chosen else " "
            text = padded(clean_line(repr(each.text)), max(6, width - 16))
            style = "lens--chosen" if chosen else "lens--written" if each.written else ""
            figure = f"{each.probability:8.2%}{' •' if each.written else ''}"
            lines.append(styled((f"{mark}{number + 1:>2} ", "lens--dim"), (text, style), (figure, "")))
        return lines

    # Actions

    @on(LensText.Placed)
    def _placed(self) -> None:
        self._chosen = 0
        if self._state and not self._failed and self._lens is not None:
            self._state = ""
        self._show()

    def action_back(self) -> None:
        self._cancel.set()
        self.dismiss(None)

    def action_next(self, step: int) -> None:
        if self._lens is None:
            return
        place = self._lens.next_place(self.text.place, step, self._level)
        if place is None:
            text, limits = (NOTHING_BELOW, UNLIKELY) if self._one_model else (NOTHING_ABOVE, LEVELS)
            self._say(text.format(limits[self._level - 1]))
        else:
            self.text.go_to(place)

    def action_threshold(self) -> None:
        self._level = self._level % len(LEVELS) + 1
        self._show()

    def action_flip(self) -> None:
        if self._lens is not None and self._lens.first_flip is not None:
            self.text.go_to(self._lens.first_flip)

    def action_worst(self) -> None:
        if self._lens is not None and self._worst:
            here = self._worst.index(self.text.place) if self.text.place in self._worst else -1
            self.text.go_to(self._worst[(here + 1) % len(self._worst)])

    def action_choose(self, step: int) -> None:
        count = len(self._alternatives(of_candidate=self._of_candidate))
        self._chosen = max(0, min(count - 1, self._chosen + step))
        self._show()

    def action_side(self) -> None:
        self._of_candidate = not self._of_candidate
        self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        usable = {"branch": self._branches, "flip": not self._one_model, "side": not self._one_model}
        return usable.get(action, True)

    def action_branch(self) -> None:
        found = self._alternatives(of_candidate=self._of_candidate)
        if self._lens is None or self._chosen >= len(found):
            return
        chosen = found[self._chosen]
        if chosen.data is None:
            self._say("This token ends the answer, or is part of the template: choose one with a text.")
            return
        beginning = self._lens.begin_with(self.text.place, chosen.data)
        try:
            beginning.decode()
        except UnicodeDecodeError:
            self._say("This token is only a part of a character: choose another one.")
            return
        self.dismiss(LensChoice(beginning, self._lens.begin_with(len(self._lens), b"")))
