"""The texts around the list of models: title, panel, strip, and the state of the scan."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content

from workbench.core.models import ModelEntry, Place
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, cut_line, cut_path, heading, paragraph, short_problem, styled
from workbench.ui.models.fit import FitEstimator
from workbench.ui.models.fit_lines import QuantFit, family_lines, fit_lines, record_lines, short_fit, short_settings
from workbench.ui.models.model_list import Heading, ModelList, Row
from workbench.ui.models.rows import context_text
from workbench.ui.services import Services

_PATH_ROWS = 3
"""Rows of a path at most; of a longer one, the end is shown."""
KeyFor = Callable[[str], str]
_TRIALS = (
    "shorter longer", "type_k", "type_v", "fewer_layers more_layers", "flash", "batch", "window", "micro_batch",
    "load_mode", "fewer_experts more_experts", "kv_offload", "devices", "longest", "fullest",
)  # fmt: skip
"""The bindings beside the settings in `fit_lines`."""


def title_line(models: ModelList, width: int) -> Content:
    """The order, the filter, the search and the number of marks."""
    reverse = ", reversed" if models.reversed else ""
    parts = [(" Models", "rows--name"), (f"  by {models.order.title}{reverse}", "rows--dim")]
    if not models.grouped:
        parts.append(("  every file", "rows--dim"))
    if models.filter is not None:
        value = models.filter.value
        only = cut_path(value, 32) if "/" in value else cut(value, 32)
        parts.append((f"  only {only}", "rows--figure"))
    if models.query:
        parts.append((f"  “{cut(models.query, 24)}”", "rows--figure"))
    if marks := len(models.marked):
        parts.append((f"  ✓ {marks} marked", "rows--accent"))
    return cut_line(styled(*parts), width)


def state_text(models: ModelList, problems_key: str) -> str:
    """The number of models, the progress of the scan, and what it could not read."""
    view = models.view
    count, shown = len(view.models), len(models.shown)
    if not view.complete and not view.models and not view.found:
        return "Looking for models…"
    some = f"{shown:,} of " if shown != count else ""
    parts = [f"{some}{fmt.counted(count, 'model')}"]
    if bad := len(view.problems):
        parts.append(f"{fmt.counted(bad, 'place')} could not be read ({problems_key})")
    if broken := sum(bool(model.problem) for model in view.models):
        parts.append(f"{broken:,} cannot be opened")
    if not view.complete:
        parts.append(f"reading {view.read:,} of {view.found:,}" if view.found else "looking")
    return " · ".join(parts)


def empty_lines(models: ModelList, services: Services, key_for: KeyFor, width: int) -> list[Content]:
    """The text in place of a list without rows."""
    width = max(20, width - 2)
    view = models.view
    if view.models:
        text = f"Nothing matches. {key_for('models.back')} shows all {len(view.models):,} models again."
        return [Content(""), *paragraph(text, width, 1, "rows--dim")]
    if not view.complete:
        return [Content(""), *paragraph("Looking for models…", width, 1, "rows--dim")]
    folders, stores = services.config.model_folders, services.config.model_stores
    lines = [Content(""), *paragraph("There is no model on this machine yet.", width, 1, "rows--strong"), Content("")]
    if services.no_model_hint:
        lines += [*paragraph(services.no_model_hint, width, 1), Content("")]
    if folders:
        lines.append(styled((" These folders were searched:", "rows--dim")))
        lines += [styled((f"   {cut_path(folder, width - 3)}", "")) for folder in folders]
    else:
        text = f"{key_for('models.folder')} adds a folder of your own .gguf files; the config file keeps it:"
        lines += paragraph(text, width, 1, "rows--dim")
        lines += paragraph(clean_line(str(services.config_path)), width, 3, "rows--dim")
        lines.append(styled(('   model_folders = ["/path/to/models"]', "rows--accent")))
    if stores:
        lines += [Content(""), *paragraph(f"Searched as well: {', '.join(stores)}.", width, 1, "rows--dim")]
    key = key_for("models.scan")
    return [*lines, Content(""), *paragraph(f"{key} looks again.", width, 1, "rows--dim")]


def panel_lines(row: Row | None, estimator: FitEstimator, key_for: KeyFor, width: int) -> list[Content]:
    """Everything about the selected row."""
    if row is None:
        return []
    if isinstance(row, Heading):
        return _family(row, estimator, width)
    return [
        *title_lines(row, width),
        *warning_lines(row, width),
        Content(""),
        *_fit(row, estimator, key_for, width),
        *detail_lines(row, width),
    ]


def _family(row: Heading, estimator: FitEstimator, width: int) -> list[Content]:
    settings = estimator.what_if.settings
    members = sorted(row.members, key=lambda model: (model.size_bytes or 0, model.ref))
    fits = [QuantFit(model, estimator.estimate(model), not estimator.knows(model)) for model in members]
    context = f"a context of {settings.num_ctx:,} tokens" if settings.num_ctx else "the default context of each"
    return [
        *heading_lines(row, width),
        Content(""),
        heading("WHICH FIT INTO THE FREE MEMORY"),
        *family_lines(fits, width),
        *paragraph(f"With {context}; longest is the longest context that fits.", width, 0, "rows--dim"),
    ]


def _fit(model: ModelEntry, estimator: FitEstimator, key_for: KeyFor, width: int) -> list[Content]:
    if model.loaded is not None:
        return _served(model, key_for, width)
    if model.problem:
        return []
    title, estimate = heading("DOES IT FIT INTO THE FREE MEMORY?"), estimator.estimate(model)
    if estimate is None:
        text = estimator.problem(model) or ("Reading the file…" if not estimator.knows(model) else "")
        return [title, *paragraph(text, width, 0, "rows--dim"), Content("")]
    keys = [" ".join(key_for(f"models.{name}") for name in names.split()) for names in _TRIALS]
    lines = [title, *fit_lines(estimate, estimator.what_if, keys, width)]
    key = key_for("models.details")
    lines += paragraph(f"{key}, then these keys: what if the settings were others.", width, 0, "rows--dim")
    if estimator.what_if.values:
        with_these, reset = key_for("models.load_with"), key_for("models.reset")
        text = f"• on trial: {with_these} loads with these settings, {reset} resets."
        lines += paragraph(text, width, 0, "rows--figure")
    return [*lines, *record_lines(estimator.record(model), width), Content("")]


def _served(model: ModelEntry, key_for: KeyFor, width: int) -> list[Content]:
    """A model on a server."""
    key = key_for("models.unload")
    state = f"Loaded there; {key} unloads it." if model.loaded else "Not loaded there; opening it loads it."
    return [
        heading("ON A SERVER"),
        *paragraph(clean_line(model.source), width, 0, "rows--strong"),
        *paragraph(state, width, 0, "rows--dim"),
        styled((cut_path(clean_line(model.ref), width), "rows--dim")),
        Content(""),
    ]


def strip_lines(row: Row | None, estimator: FitEstimator, key_for: KeyFor, width: int) -> list[Content]:
    """The same in two rows, for a screen without room for the panel."""
    empty = Content("")
    if row is None:
        return [empty, empty]
    if isinstance(row, Heading):
        sizes = [model.size_bytes for model in row.members if model.size_bytes is not None]
        fitting = [estimate.fit.fits for model in row.members if (estimate := estimator.estimate(model)) is not None]
        together = f" · {fmt.size(sum(sizes))} together" if sizes else ""
        text = f"{sum(fitting)} of {len(row.members)} fit into the free memory{together}"
        hint = f"{key_for('models.details')} shows the panel"
        return [styled((cut(text, width), "")), styled((cut(hint, width), "rows--dim"))]
    if row.loaded is not None:
        state = "loaded there" if row.loaded else "not loaded there"
        return [styled((cut(f"on a server: {clean_line(row.source)}", width), "")), styled((state, "rows--dim"))]
    estimate = estimator.estimate(row)
    if estimate is None:
        words = warning_lines(row, 10_000) or paragraph(estimator.problem(row) or "Reading the file…", 10_000)
        return [cut_line(words[0], width), empty]
    return [short_fit(estimate, width), short_settings(estimate, estimator.what_if, width)]


def title_lines(model: ModelEntry, width: int) -> list[Content]:
    """Name and figures of a model."""
    figures = [f"{model.bits_per_weight:.2f} bits"] if model.bits_per_weight is not None else []
    figures += [fmt.size(model.size_bytes)] if model.size_bytes is not None else []
    quant, rest = cut(model.quant or fmt.DASH, 14), " · ".join(figures)
    return [
        *paragraph(clean_line(model.name), width, 0, "rows--name")[:2],
        styled((quant, "rows--accent"), (cut(f"  {rest}", width - len(quant)), "")),
        _facts(model, fmt.count(model.context_length), width),
    ]


def _facts(model: ModelEntry, context: str, width: int) -> Content:
    """The figures that all quantizations of a model have in common."""
    facts = [
        f"{fmt.parameters(model.parameters)} weights" if model.parameters else "",
        model.architecture or "",
        f"context {context}" if model.context_length else "",
    ]
    return styled((cut(" · ".join(fact for fact in facts if fact), width), "rows--dim"))


def warning_lines(model: ModelEntry, width: int) -> list[Content]:
    """The problem of a model, and how its tensors contradict its label."""
    lines: list[Content] = []
    if model.problem:
        lines += paragraph(f"! {short_problem(model)}", width, 0, "rows--error")
    if model.label_mismatch:
        lines += paragraph(f"≠ {clean_line(model.label_mismatch)}", width, 0, "rows--warning")
    return lines


def detail_lines(model: ModelEntry, width: int) -> list[Content]:
    """The tensor type, the locations and the digest of a model."""
    lines: list[Content] = []
    if model.tensor_quant:
        lines.append(styled(("most tensors  ", "rows--dim"), (cut(model.tensor_quant, width - 14), "")))
    places = model.places or ((Place(model.source, model.path, model.ref),) if model.path else ())
    if places:
        lines += [Content(""), heading("LOCATION" if len(places) == 1 else f"{len(places)} LOCATIONS OF ONE FILE")]
    for place in places:
        name = f"{place.source}: {place.name}" if place.name else place.source
        is_path = not place.name and "/" in name
        # A name that is the folder adds nothing to the path.
        lines += [] if is_path else [styled((cut(name, width), "rows--strong"))]
        path = cut_path(place.path, width * _PATH_ROWS)
        lines += [styled((path[start : start + width], "rows--dim")) for start in range(0, len(path), width)]
    if model.digest:
        lines.append(styled((cut(f"sha256 {model.digest.removeprefix('sha256:')}", width), "rows--dim")))
    return lines


def heading_lines(row: Heading, width: int) -> list[Content]:
    """Name and figures of a base model."""
    sizes = [model.size_bytes for model in row.members if model.size_bytes]
    first = fmt.counted(len(row.members), "quantization")
    if sizes:
        smallest, largest = fmt.size(min(sizes)), fmt.size(max(sizes))
        first += f" · {smallest}" if smallest == largest else f" · {smallest} to {largest}"
    return [
        *paragraph(clean_line(row.name), width, 0, "rows--name")[:2],
        styled((cut(first, width), "")),
        _facts(row.common, context_text(row.common.context_length), width),
    ]
