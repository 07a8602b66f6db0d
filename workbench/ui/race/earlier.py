"""Earlier races: the list to choose from, and one of them with its figures and answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from textual.content import Content
from textual.screen import Screen

from workbench.core.units import figure_text
from workbench.lab.race.book import RaceBook
from workbench.lab.race.kept import KeptLane, KeptRace
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.table import Column, Table
from workbench.ui.kit.text import paragraph, styled, wrap


async def open_earlier(screen: Screen[None], book: RaceBook, say: Callable[[str], object]) -> None:
    """Let the user choose an earlier race, and show it."""
    races = await book.kept()
    if not races:
        say("No race is kept yet.")
        return

    def chosen(found: int | str | None) -> None:
        if isinstance(found, int):
            race = races[found]
            screen.app.push_screen(TextDialog(f"Race {race.id}", partial(race_lines, race), classes="-wide"))

    screen.app.push_screen(ChooseDialog("Earlier races", [race_row(race) for race in races]), chosen)


def race_row(race: KeptRace) -> str:
    """A race in the list: when, the models, and the last question."""
    day, time = race.id[:6], race.id[7:11]
    when = f"20{day[:2]}-{day[2:4]}-{day[4:]} {time[:2]}:{time[2:]}"
    lanes = ", ".join(lane.quant or lane.model for lane in race.lanes)
    name = race.lanes[0].model if race.lanes else ""
    return f"{when}  {name} {lanes}  › {race.questions[-1] if race.questions else ''}"


def race_lines(race: KeptRace, width: int) -> list[Content]:
    """A race: its questions, the table of its lanes, and the answers to the last question."""
    lines = [line for text in race.questions for line in paragraph(f"› {clean_line(text)}", width, 0, "rows--heading")]
    if race.in_turn:
        text = "The models did not fit in memory together: they were loaded and asked one after the other."
        lines += paragraph(text, width, 0, "rows--dim")
    table = _table(race)
    lines += [Content(""), table.header(width), *(table.row(lane, width) for lane in race.lanes)]
    for lane in race.lanes:
        lines += [Content(""), styled((clean_line(lane.label), "rows--name"))]
        if lane.error is not None:
            lines += paragraph(clean_line(lane.error.message), width, 0, "rows--error")
        thoughts = clean(lane.reasoning or "").strip()
        lines += wrap(styled((thoughts, "rows--dim")), width) if thoughts else []
        lines += wrap(Content(clean(lane.text).strip()), width)
    return lines


def _table(race: KeptRace) -> Table[KeptLane]:
    def name(lane: KeptLane) -> Content:
        index = race.lanes.index(lane)
        marks = [word for word, best in (("fastest", race.fastest), ("smallest", race.smallest)) if best == index]
        return styled((clean_line(lane.label), "rows--name"), ("".join(f" {mark}" for mark in marks), "rows--good"))

    def figure(title: str, cell: Callable[[KeptLane], str], width: int, least: int = 0) -> Column[KeptLane]:
        return Column(title, cell, width, right=True, style="rows--figure", least=least)

    columns = [
        Column("lane", name),
        figure("TTFT", lambda lane: fmt.milliseconds(lane.ttft_ms), 9),
        figure("prefill", lambda lane: fmt.rate(lane.prefill_tps), 9, 90),
        figure("decode", lambda lane: fmt.rate(lane.decode_tps), 9),
        figure("x", lambda lane: figure_text(lane.decode_ratio, ".2f", "x"), 7),
        figure("size", lambda lane: fmt.size(lane.size_bytes), 10),
        figure("memory", lambda lane: fmt.size(lane.peak_bytes), 10, 76),
        figure("tokens", lambda lane: fmt.count(lane.completion_tokens), 8, 90),
        figure("differs at", lambda lane: fmt.count(lane.first_divergence), 11, 76),
    ]
    return Table(columns, gap=0, least_flexible=12)
