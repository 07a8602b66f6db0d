"""The screen of registries: search, the quantizations of a repository and their memory, and the queue of downloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen
from textual.widgets import Input, Label
from textual.worker import Worker

from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.pulls import Offer, Offers, PullRequest, Pulls, RepositoryHit
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import paragraph, styled
from workbench.ui.pull.lines import INTRODUCTION, hits_table, job_row, offer_lines, offers_table
from workbench.ui.pull.queue import PullQueue, QueuedPull, add_pull, find_pull
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.list_lines import ListLines
from workbench.ui.widgets.rows import Rows
from workbench.ui.widgets.worker_errors import report_worker_error

DETAIL_ROWS = 5
QUEUE_ROWS = 6
"""The most downloads that are in sight at once."""


class PullScreen(Screen[None]):
    """Searches registries, and queues downloads, which go on when it is left.

    Args:
        pulls: Asks registries.
        queue: The downloads.
        key_for: Gives the key of a binding.
        run: Starts fetching what waits in the queue.
        load: Opens a model that was fetched in the chat.
    """

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#pull-query"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        key("pull.query", "slash", "Search", "Type another name or reference."),
        key("pull.pictures", "m", "Pictures", "Fetch the picture encoder with the model, or leave it out."),
        key("pull.pause", "h", "Pause", "Pause the selected download, or go on with it."),
        key("pull.pause_all", "H", "All", "Go on with all downloads that are paused or have failed; else pause all."),
        key("pull.sooner", "shift+up,K", "Sooner",
            "Fetch the selected download before the one above it.", action="order(-1)", show=False),
        key("pull.later", "shift+down,J", "Later",
            "Fetch the selected download after the one below it.", action="order(1)", show=False),
        key("pull.remove", "x,delete", "Remove",
            "Take the selected download off the list; what was fetched stays on disk."),
        key("pull.back", "escape", "Back", "Go back to the search, then to the screen before; downloads go on."),
    ]
    # fmt: on

    title_line = query_one("#pull-title", ListLines)
    query_line = query_one("#pull-query", Input)
    list = query_one("#pull-list", Rows)
    details = query_one("#pull-details", ListLines)
    heading = query_one("#pull-heading", Label)
    jobs = query_one("#pull-jobs", Rows)

    def __init__(
        self,
        pulls: Pulls,
        queue: PullQueue,
        key_for: Callable[[str], str],
        run: Callable[[], None],
        load: Callable[[QueuedPull], None],
    ) -> None:
        super().__init__(id="pull")
        self._pulls = pulls
        self._queue = queue
        self._key_for = key_for
        self._run = run
        self._load = load
        self._hits: Sequence[RepositoryHit] = ()
        self._hit_cursor = 0
        self._offers: Offers | None = None
        self._listed: Offers | None = None
        """What the list shows the quantizations of."""
        self._searched = ""
        """The words of the last search; empty before the first."""
        self._asking = ""
        """What a registry is asked for now; empty for nothing."""
        self._error: WorkbenchError | None = None
        self._with_mmproj = True
        self._hits_table = hits_table()
        self._offers_table = offers_table(self._state_of)

    def compose(self) -> ComposeResult:
        yield ListLines(widget_id="pull-title")
        yield InputLine("pull-query", "Name of a model, hf.co/USER/REPO, or ollama:NAME:TAG; Enter asks")
        yield Rows("pull-list")
        yield ListLines(widget_id="pull-details")
        yield Label("Downloads", id="pull-heading", markup=False)
        yield Rows("pull-jobs")
        yield KeyBar()

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self._show)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_worker_error(event, lambda text: self.notify(clean_line(text), severity="error"))

    # Asking

    @on(Input.Submitted, "#pull-query")
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.ask(event.value.strip())

    @work(group="registry", exclusive=True, exit_on_error=False, description="ask the registry")
    async def ask(self, query: str) -> None:
        """Search for a name, or list what a reference offers."""
        self._error, self._asking = None, query
        self._show()
        try:
            try:
                self._offers = await self._pulls.offers(query)
            except ParameterError:
                if "/" in query or ":" in query:
                    raise
                self._searched, self._offers, self._hit_cursor = query, None, 0
                self._hits = await self._pulls.search(query)
        except WorkbenchError as error:
            self._error = error
        finally:
            self._asking = ""
        self._show()
        if self._error is None and self.list.cursor is not None and self.focused in {None, self.query_line}:
            self.list.focus()

    # Drawing

    def _show(self) -> None:
        if not (self.is_current and self.size.width):
            return
        if self._offers is not None:
            offers, table = self._offers.offers, self._offers_table
            keep = self.list.cursor if self._listed is self._offers else None
            self._list_rows(
                len(offers), lambda index, width: table.row(offers[index], width), table.header(self.list.room),
                self._offers.chosen if keep is None else keep,
            )  # fmt: skip
        elif self._hits:
            hits, rows = self._hits, self._hits_table
            self._list_rows(
                len(hits), lambda index, width: rows.row(hits[index], width), rows.header(self.list.room),
                self._hit_cursor,
            )  # fmt: skip
        else:
            lines = [line for text in INTRODUCTION for line in paragraph(text, max(20, self.list.room - 2), 1)]
            if self._searched and not self._asking and self._error is None:
                lines = paragraph(f"No repository with GGUF files has {self._searched} in its name.", 70, 1)
            self.list.show(len(lines), lambda index, _: lines[index])
        self._listed = self._offers
        self._show_details()
        self.look()
        self.refresh_bindings()

    def _list_rows(self, count: int, row: Callable[[int, int], Content], header: Content, cursor: int) -> None:
        self.list.show(count, row, header=header, choosable=True, cursor=cursor)

    @on(Rows.Moved, "#pull-list")
    def _show_details(self) -> None:
        offer, width = self.offer, max(20, self.details.size.width)
        lines: list[Content] = []
        if self._asking:
            lines = [styled((clean_line(f"Asks for {self._asking}…"), "rows--dim"))]
        elif self._error is not None:
            lines = paragraph(clean_line(self._error.message), width, 0, "rows--error")
            lines += paragraph(clean_line(self._error.hint), width, 0, "rows--dim")
        elif offer is not None and self._offers is not None:
            key = self._key_for("pull.pictures")
            lines = offer_lines(offer, self._offers, width, with_mmproj=self._with_mmproj, key=key)
        elif self._hits:
            self._hit_cursor = self.list.cursor or 0
            lines = [styled(("Enter lists the quantizations, and whether each fits; nothing is fetched.", "rows--dim"))]
        self.details.set_lines(lines[:DETAIL_ROWS])
        where = f"  {clean_line(self._offers.name)}" if self._offers else f"  {clean_line(self._searched)}"
        self.title_line.set_lines([styled((" Get models", "rows--name"), (where, "rows--strong"))])

    def look(self) -> None:
        """Show how far the downloads are."""
        if not self.is_current:
            return
        jobs = self._queue.jobs
        if bool(jobs) != self.has_class("-busy"):
            self.set_class(bool(jobs), "-busy")
            self.refresh_bindings()
        self.jobs.styles.height = min(QUEUE_ROWS, max(1, len(jobs)))
        active = f", {self._queue.waiting} waiting" if self._queue.waiting else ""
        self.heading.update(f"Downloads: {len(jobs)}{active}", layout=False)
        self.jobs.show(
            len(jobs), lambda index, width: job_row(jobs[index], width), choosable=True, cursor=self.jobs.cursor or 0
        )
        if self._offers is not None:
            self.list.redraw()
        if self.focused is self.jobs:
            self._show_job()

    @on(Rows.Moved, "#pull-jobs")
    def _show_job(self) -> None:
        job, width = self.job, max(20, self.details.size.width)
        if job is None or self._asking:
            return
        lines = [styled((clean_line(job.work.ref), "rows--dim"))]
        if job.error is not None:
            lines = paragraph(clean_line(job.error.message), width, 0, "rows--error")
            lines += paragraph(clean_line(job.error.hint), width, 0, "rows--dim")
        elif job.result:
            lines.append(styled((clean_line(job.result), "rows--dim"), ("  Enter loads it", "rows--figure")))
        self.details.set_lines(lines[:DETAIL_ROWS])

    def on_descendant_focus(self, _: events.DescendantFocus) -> None:
        (self._show_job if self.focused is self.jobs else self._show_details)()
        self.refresh_bindings()

    def _state_of(self, offer: Offer) -> str:
        job = find_pull(self._queue, offer.ref)
        if job is None or job.state == "done":
            return ""
        return {"waiting": "waits", "running": "comes", "stopped": "paused"}.get(job.state, job.state)

    # The selected row

    @property
    def offer(self) -> Offer | None:
        """The selected quantization."""
        cursor = self.list.cursor
        return self._offers.offers[cursor] if self._offers is not None and cursor is not None else None

    @property
    def job(self) -> QueuedPull | None:
        """The selected download."""
        jobs, cursor = self._queue.jobs, self.jobs.cursor
        return jobs[cursor] if cursor is not None and cursor < len(jobs) else None

    @on(Rows.Chosen, "#pull-list")
    def _choose(self) -> None:
        if self._offers is not None and (offer := self.offer) is not None:
            add_pull(self._queue, self._request(self._offers, offer))
            self._run()
            self.look()
        elif self._hits:
            self.ask(f"hf.co/{self._hits[self.list.cursor or 0].repository}")

    def _request(self, found: Offers, offer: Offer) -> PullRequest:
        size = offer.size_bytes + (offer.mmproj_bytes if self._with_mmproj else 0)
        name = found.name.rpartition("/")[2]
        return PullRequest(offer.ref, f"{name} {offer.quant}", size, mmproj=self._with_mmproj)

    @on(Rows.Chosen, "#pull-jobs")
    def _choose_job(self) -> None:
        if (job := self.job) is None:
            return
        if job.state == "done":
            self._load(job)
        else:
            self.action_pause()

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {"pause", "order", "remove"}:
            return self.focused is self.jobs
        if action == "pictures":
            return self.focused is self.list and self.offer is not None and self.offer.mmproj is not None
        return action != "pause_all" or bool(self._queue.jobs)

    def action_query(self) -> None:
        self.query_line.focus()

    def action_pictures(self) -> None:
        self._with_mmproj = not self._with_mmproj
        self._show_details()

    def action_pause(self) -> None:
        if (job := self.job) is not None:
            (self._queue.stop if job.is_active else self._queue.resume)(job)
            self._run()

    def action_pause_all(self) -> None:
        stopped = [job for job in self._queue.jobs if job.state in {"stopped", "failed"}]
        for job in stopped or self._queue.jobs:
            (self._queue.resume if stopped else self._queue.stop)(job)
        self._run()

    def action_order(self, step: int) -> None:
        if (job := self.job) is not None:
            self._queue.move(job, step)
            self.look()
            self.jobs.move_to(self._queue.jobs.index(job))

    def action_remove(self) -> None:
        if (job := self.job) is not None:
            self._queue.remove(job)
            self.look()
            if not self._queue.jobs:
                self.list.focus()

    def action_back(self) -> None:
        if self._offers is not None and self._hits:
            self._offers = self._error = None
            self._show()
            self.list.focus()
        else:
            self.dismiss()
