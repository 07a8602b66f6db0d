"""What stands around the list of models: the title, the panel with the fit, the state of the search."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content

from workbench.core.models import ModelEntry
from workbench.ui.kit import figures as fmt
from workbench.ui.describing import detail_lines, heading_lines, title_lines, warning_lines
from workbench.ui.models.fit import Fitter
from workbench.ui.models.fit_lines import Verdict, family_lines, fit_lines, record_lines, short_fit, short_settings
from workbench.ui.kit.gauges import styled
from workbench.ui.model_files.pages import cut, cut_path, heading, paragraph
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.services import Services
from workbench.ui.models.model_list import Heading, Row, Shelf

KeyFor = Callable[[str], str]
_TRIALS = ("shorter", "type_k", "type_v", "fewer_layers", "flash", "batch", "longest")


def title_line(shelf: Shelf, width: int) -> Content:
    """What is shown, and in which order."""
    turned = ", turned round" if shelf.turned else ""
    marks = len(shelf.marked)
    parts = [(" Models", "rows--name"), (f"  by {shelf.order.title}{turned}", "rows--dim")]
    if not shelf.grouped:
        parts.append(("  every file", "rows--dim"))
    if shelf.filter is not None:
        parts.append((f"  only {_short(shelf.filter.words, 32)}", "rows--figure"))
    if shelf.query:
        parts.append((f"  “{cut(shelf.query, 24)}”", "rows--figure"))
    if marks:
        parts.append((f"  ✓ {marks} marked", "rows--accent"))
    shown: list[tuple[str, str]] = []
    for text, style in parts:
        text = cut(text, width)
        shown.append((text, style))
        width -= len(text)
    return styled(*shown)


def _short(text: str, width: int) -> str:
    return cut_path(text, width) if "/" in text else cut(text, width)


def state_text(shelf: Shelf, problems_key: str) -> str:
    """How far the search is, and what it could not read."""
    view = shelf.view
    count, shown = len(view.models), len(shelf.shown)
    if not view.complete and not view.models and not view.found:
        return "Looking for models…"
    some = f"{shown:,} of " if shown != count else ""
    parts = [f"{some}{count:,} model{'s' * (count != 1)}"]
    if bad := len(view.problems):
        parts.append(f"{bad:,} place{'s' * (bad != 1)} could not be read ({problems_key})")
    if broken := sum(bool(model.problem) for model in view.models):
        parts.append(f"{broken:,} cannot be opened")
    if not view.complete:
        parts.append(f"reading {view.read:,} of {view.found:,}" if view.found else "looking")
    return " · ".join(parts)


def empty_lines(shelf: Shelf, services: Services, key_for: KeyFor, width: int) -> list[Content]:
    """What stands in place of a list without rows."""
    width = max(20, width - 2)
    view = shelf.view
    if view.models:
        text = f"Nothing matches. {key_for('models.back')} shows all {len(view.models):,} models again."
        return [Content(""), *paragraph(text, width, 1, "rows--dim")]
    if not view.complete:
        return [Content(""), *paragraph("Looking for models…", width, 1, "rows--dim")]
    folders = services.config.model_folders
    stores = services.config.model_stores
    lines = [Content(""), *paragraph("There is no model on this machine yet.", width, 1, "rows--strong"), Content("")]
    if services.no_model_hint:
        lines += [*paragraph(services.no_model_hint, width, 1), Content("")]
    if folders:
        lines.append(styled((" These folders were searched:", "rows--dim")))
        lines += [styled((f"   {cut_path(folder, width - 3)}", "")) for folder in folders]
    else:
        text = "To have your own .gguf files in this list, name their folders in the config file:"
        lines += paragraph(text, width, 1, "rows--dim")
        lines.append(styled(('   model_folders = ["/path/to/models"]', "rows--accent")))
    if stores:
        lines += [Content(""), *paragraph(f"Looked into as well: {', '.join(stores)}.", width, 1, "rows--dim")]
    key = key_for("models.scan")
    return [*lines, Content(""), *paragraph(f"{key} looks again.", width, 1, "rows--dim")]


def _trial_keys(key_for: KeyFor) -> list[str]:
    keys = [key_for(f"models.{name}") for name in _TRIALS]
    keys[0] = f"{keys[0]} {key_for('models.longer')}"
    keys[3] = f"{keys[3]} {key_for('models.more_layers')}"
    return keys


def panel_lines(row: Row | None, fitter: Fitter, key_for: KeyFor, width: int) -> list[Content]:
    """Everything about the row in hand."""
    if row is None:
        return []
    if isinstance(row, Heading):
        return _family(row, fitter, width)
    return [
        *title_lines(row, width),
        *warning_lines(row, width),
        Content(""),
        *_fit(row, fitter, key_for, width),
        *detail_lines(row, width),
    ]


def _family(row: Heading, fitter: Fitter, width: int) -> list[Content]:
    settings = fitter.what_if.settings
    members = sorted(row.members, key=lambda model: (model.size_bytes or 0, model.ref))
    verdicts = [Verdict(model, fitter.answer(model), not fitter.knows(model)) for model in members]
    context = f"of {settings.num_ctx:,} tokens" if settings.num_ctx else "that each has by default"
    return [
        *heading_lines(row, width),
        Content(""),
        heading("WHICH FIT, WITH WHAT IS FREE NOW"),
        *family_lines(verdicts, width),
        *paragraph(f"With the context {context}; the longest that fits behind it.", width, 0, "rows--dim"),
    ]


def _fit(model: ModelEntry, fitter: Fitter, key_for: KeyFor, width: int) -> list[Content]:
    if model.loaded is not None:
        return _served(model, key_for, width)
    title = heading("DOES IT FIT IN WHAT IS FREE NOW?")
    answer = fitter.answer(model)
    if model.problem:
        return []
    if answer is None:
        text = fitter.problem(model) or ("Reading the file…" if not fitter.knows(model) else "")
        return [title, *paragraph(text, width, 0, "rows--dim"), Content("")]
    lines = [title, *fit_lines(answer, fitter.what_if, _trial_keys(key_for), width)]
    if fitter.what_if.values:
        with_these, reset = key_for("models.load_with"), key_for("models.reset")
        lines += paragraph(f"• on trial: {with_these} loads it so, {reset} resets.", width, 0, "rows--figure")
    return [*lines, *record_lines(fitter.record(model), width), Content("")]


def _served(model: ModelEntry, key_for: KeyFor, width: int) -> list[Content]:
    """A model that a server has."""
    key = key_for("models.unload")
    state = f"Loaded there; {key} has it unloaded." if model.loaded else "Not loaded there; it is when it is opened."
    return [
        heading("IT IS ON A SERVER"),
        *paragraph(clean_line(model.source), width, 0, "rows--strong"),
        *paragraph(state, width, 0, "rows--dim"),
        styled((cut_path(clean_line(model.ref), width), "rows--dim")),
        Content(""),
    ]


def strip_lines(row: Row | None, fitter: Fitter, details_key: str, width: int) -> list[Content]:
    """The same in two rows, where there is no room for the panel."""
    empty = Content("")
    hint = f"{details_key} shows the panel"
    if row is None:
        return [empty, empty]
    if isinstance(row, Heading):
        sizes = [model.size_bytes for model in row.members if model.size_bytes is not None]
        fitting = [answer.fit.fits for model in row.members if (answer := fitter.answer(model)) is not None]
        together = f" · {fmt.size(sum(sizes))} together" if sizes else ""
        text = f"{sum(fitting)} of {len(row.members)} fit in what is free now{together}"
        return [styled((cut(text, width), "")), styled((cut(f"{hint}: which of them", width), "rows--dim"))]
    if row.loaded is not None:
        state = "loaded there" if row.loaded else "not loaded there"
        return [styled((cut(f"on a server: {clean_line(row.source)}", width), "")), styled((state, "rows--dim"))]
    answer = fitter.answer(row)
    if answer is None:
        words = warning_lines(row, 10_000) or paragraph(fitter.problem(row) or "Reading the file…", 10_000)
        line = words[0]
        return [line if line.cell_length <= width else line.truncate(width, ellipsis=True), empty]
    return [short_fit(answer, width), short_settings(answer, fitter.what_if, width)]
