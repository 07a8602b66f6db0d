"""The screen of a blind test: answers without names, shown at one pace, and the keys that vote."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen
from textual.worker import Worker, WorkerCancelled, WorkerFailed

from workbench.core.errors import CancelledError, EvalError, WorkbenchError
from workbench.core.session import Session, last_sessions
from workbench.lab.evals.blind import USUAL_TRIALS, BlindPlan, BlindTest, beginnings
from workbench.lab.evals.blind_record import BlindKind, BlindTrial, Choice
from workbench.lab.evals.blind_report import FORMS
from workbench.lab.evals.from_session import cases_of
from workbench.lab.evals.pack import EvalPack, of_prompts
from workbench.lab.race.lane import LaneSpec
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.export import export_document
from workbench.ui.evals.lines import wrapped_text
from workbench.ui.experiment.result_lines import ResultLines
from workbench.ui.experiment.screen import shared_key
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import paragraph, styled
from workbench.ui.services import Services
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.worker_errors import report_worker_error

TICK_SECONDS = 0.1
LAST_SESSIONS = 10
HEADS = ("1", "2", "X")
QUESTIONS: Mapping[BlindKind, str] = {"abx": "Which of the two wrote X?", "preference": "Which is better?"}
EXPLAINED: Mapping[BlindKind, str] = {
    "abx": "Each trial shows an answer of either model, and X, another one by one of the two. Vote for the one that "
    "wrote X. The names are shown at the end.",
    "preference": "Each trial shows an answer of either model. Vote for the better one, or for neither. The names are "
    "shown at the end.",
}


EXPORTS = {
    ".md": "Markdown      the verdict and every trial, to read",
    ".json": "JSON          everything",
    ".csv": "CSV           one row a trial",
}


class BlindScreen(Screen[None]):
    """Generates the answers, shows one trial after the other, and says at the end what the votes show."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("blind.first", "1", "First", "Vote for the first answer.", action="vote('first')"),
        key("blind.second", "2", "Second", "Vote for the second answer.", action="vote('second')"),
        key("blind.neither", "0", "Neither", "In a preference: neither answer is better.", action="vote('neither')"),
        key("blind.reveal", "space", "Show all", "Show the answers to their ends."),
        shared_key("blind.export", "At the end: write the test with its names as Markdown, JSON or CSV."),
        shared_key("blind.stop", "End the test and show the names; pressed again, go back."),
    ]

    head = query_one("#blind-head", ResultLines)
    columns = query_one("#blind-columns", Horizontal)
    state = query_one("#blind-state", ResultLines)

    def __init__(self, services: Services, plan: BlindPlan) -> None:
        super().__init__(id="blind")
        self._services = services
        self._kind = plan.kind
        self._test = BlindTest(plan, services.evals, services.engines, services.adviser, self._show_progress)
        self._seconds = 0.0
        """How long the trial has been shown."""
        self._ended = False
        self._problem = ""

    def compose(self) -> ComposeResult:
        yield ResultLines(widget_id="blind-head")
        with Horizontal(id="blind-columns"):
            for name in HEADS[: 3 if self._kind == "abx" else 2]:
                with VerticalScroll(classes="blind-column"):
                    yield ResultLines(widget_id=f"blind-{name}")
        yield ResultLines(widget_id="blind-state")
        yield KeyBar()

    def on_mount(self) -> None:
        self._ticker = self.set_interval(TICK_SECONDS, self._tick, pause=True)
        self._worker = self.run_worker(self._prepare(), group="blind", exit_on_error=False, description="blind test")
        self.call_after_refresh(self._show_progress)

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)

    async def _prepare(self) -> None:
        try:
            await self._test.prepare()
        except CancelledError:
            if self.is_current:
                self.dismiss()
            return
        except WorkbenchError as error:
            self._problem, self._ended = str(error), True
        self._begin_trial()

    def _begin_trial(self) -> None:
        self._seconds = 0.0
        self._ended = self._ended or self._test.next is None
        if not self._ended:
            self._ticker.resume()
        self._paint()
        self.refresh_bindings()

    def _tick(self) -> None:
        trial = self._test.next
        self._seconds += TICK_SECONDS
        if trial is None or self._ended or beginnings(trial.shown, self._seconds) == trial.shown:
            self._ticker.pause()
        self._paint()

    # Drawing

    def _show_progress(self) -> None:
        if self.is_mounted and self._test.record is None:
            text = f"Generating all answers first: {self._test.done} of {self._test.total}. Esc stops."
            self.state.set_lines([styled((text, "rows--dim"))])

    def _paint(self) -> None:
        record, trial = self._test.record, None if self._ended else self._test.next
        width = max(20, self.size.width - 2)
        with self.app.batch_update():
            self.columns.display = trial is not None
            if trial is None:
                self.head.set_lines(self._result(width))
            else:
                self._paint_trial(trial, width)
            if record is not None:
                known = record.known if not self._ended else f"Kept as {record.id}. Esc goes back."
                self.state.set_lines([styled((clean_line(known), "rows--dim"))])

    def _paint_trial(self, trial: BlindTrial, width: int) -> None:
        record = self._test.record
        number = len(record.voted) + 1 if record else 1
        first = f"BLIND TEST  {number} of {len(record.trials) if record else 0}  {QUESTIONS[self._kind]}"
        self.head.set_lines([styled((first, "rows--heading")), *paragraph(clean(trial.question), width)[:4]])
        for name, text in zip(HEADS, beginnings(trial.shown, self._seconds), strict=False):
            lines = self.query_one(f"#blind-{name}", ResultLines)
            body = wrapped_text(text.lstrip(), max(10, lines.size.width))
            lines.set_lines([styled((name, "rows--figure")), *body])

    def _result(self, width: int) -> list[Content]:
        record = self._test.record
        if self._problem:
            return [*paragraph(clean_line(self._problem), width, style="rows--error"), styled(("Esc goes back.", ""))]
        if record is None:
            title = styled((f"BLIND TEST  {QUESTIONS[self._kind]}", "rows--heading"))
            return [title, *paragraph(EXPLAINED[self._kind], width)]
        lines = [styled(("BLIND TEST  the result", "rows--heading"))]
        if record.voted:
            lines += paragraph(clean_line(record.verdict), width, style="rows--accent")
        else:
            lines.append(Content("No vote: nothing is known."))
        for text in dict.fromkeys(record.left_out):
            lines += paragraph(f"{record.left_out.count(text)} trials left out: {text}", width, style="rows--dim")
        return lines

    # Voting

    async def action_vote(self, choice: Choice) -> None:
        if self._ended or self._test.next is None:
            return
        try:
            await self._test.vote(choice)
        except WorkbenchError as error:
            self.notify(clean_line(str(error)), severity="warning", markup=False)
            if self._test.next is not None and self._test.next.x is not None and choice == "neither":
                return
        self._begin_trial()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "export":
            return self._ended
        if action in ("vote", "reveal"):
            has_trial = not self._ended and self._test.next is not None
            return has_trial and (parameters != ("neither",) or self._kind == "preference")
        return True

    def action_reveal(self) -> None:
        if self._test.next is not None:
            self._seconds = math.inf
            self._paint()

    def action_export(self) -> None:
        record = self._test.record
        if record is None or not self._ended:
            return

        def say(text: str, _seconds: float) -> None:
            self.notify(clean_line(text), markup=False)

        title = f"blind test {record.id}"
        export_document(self, self._services, "the test", EXPORTS, title, lambda form: FORMS[form](record), say)

    def action_stop(self) -> None:
        if self._test.record is None and not self._ended:
            self._test.stop()
        elif self._ended:
            self.dismiss()
        else:
            self._ended = True
            self._paint()
            self.refresh_bindings()

    async def on_unmount(self) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Stop, and wait until the memory is released."""
        self._test.stop()
        if not self._worker.is_finished:
            with suppress(WorkerFailed, WorkerCancelled):
                await self._worker.wait()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_worker_error(event, lambda text: self.notify(clean_line(text), severity="error", markup=False))


async def choose_blind_test(
    screen: Screen[None],
    services: Services,
    models: tuple[LaneSpec, LaneSpec],
    pack: EvalPack | None,
    session: Session,
    say: Callable[[str, float], object],
    begin: Callable[[BlindScreen], object],
) -> None:
    """Let the user choose the question and the prompts of a blind test; `begin` gets its screen.

    `session` is this chat.
    """
    sources = [] if pack is None else [(f"the prompts of {pack.name}", pack.cases)]
    if asked := cases_of(session):
        sources.append(("the questions of this chat", asked))
    try:
        stored = await last_sessions(services.sessions, LAST_SESSIONS, but=session.id)
    except WorkbenchError as error:
        say(str(error), 8.0)
        stored = []
    if earlier := tuple(case for each in stored for case in cases_of(each)):
        sources.append((f"the questions of the last {len(stored)} conversations", earlier))
    offers = [(kind, f"{text}  {source}", cases) for kind, text in QUESTIONS.items() for source, cases in sources]

    def chosen(found: int | str | None) -> None:
        if found is None:
            return
        typed: BlindKind = "abx"
        kind, _, cases = (typed, "", of_prompts([found])) if isinstance(found, str) else offers[found]
        greedy = any(spec.sampling.temperature == 0 for spec in models)
        trials = min(USUAL_TRIALS, len(cases)) if greedy else USUAL_TRIALS
        plan = BlindPlan(kind, models, cases, trials)
        try:
            plan.check()
        except EvalError as error:
            say(str(error), 8.0)
            return
        begin(BlindScreen(services, plan))

    rows = [text for _, text, _ in offers]
    typed_hint = f"{'or a' if rows else 'A'} question of your own: which of the two wrote X?"
    screen.app.push_screen(ChooseDialog("A blind test", rows, typed_hint), chosen)
