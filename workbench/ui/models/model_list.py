"""The list of models as the user has arranged it: searched, filtered, sorted, grouped, folded and marked.

It holds no widget. Whatever changes, the selected row stays selected as long as it is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from workbench.core.models import LibraryView, ModelEntry, group_of
from workbench.ui.kit.model_search import ModelSearch
from workbench.ui.kit.table import natural


@dataclass(frozen=True, slots=True)
class Heading:
    """The row above the quantizations of one base model."""

    key: str
    """The group of all of them, from `group_of`."""
    name: str
    members: tuple[ModelEntry, ...]
    """Those that search and filter leave, folded or not."""
    folded: bool = False

    @property
    def common(self) -> ModelEntry:
        """The member whose architecture, parameters and context stand for all: the first readable one."""
        return next((model for model in self.members if not model.problem), self.members[0])


Row = Heading | ModelEntry


@dataclass(frozen=True, slots=True)
class SortOrder:
    """A way to sort models."""

    title: str
    value: Callable[[ModelEntry], Any] | None
    """The sort key, a text or a number; a model without one comes last. None: the order in which models are found."""
    descending: bool = False
    """Whether the largest comes first, unless the order is reversed."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Keeps the models that have one thing in common."""

    kind: Literal["source", "architecture", "state"]
    value: str

    def keeps(self, model: ModelEntry) -> bool:
        match self.kind:
            case "source":
                return self.value in sources(model)
            case "architecture":
                return model.architecture == self.value
        return _STATES[self.value](model)


_STATES: Mapping[str, Callable[[ModelEntry], bool]] = {
    "incomplete or unreadable": lambda model: bool(model.problem),
    "label contradicted by the tensors": lambda model: bool(model.label_mismatch),
    "in several places": lambda model: len(model.places) > 1,
}


def sources(model: ModelEntry) -> Sequence[str]:
    """Every source in which a model was found."""
    return list(dict.fromkeys([place.source for place in model.places] or [model.source]))


def key_of(row: Row) -> str:
    """Identifies a row across rearrangements."""
    return f"heading {row.key}" if isinstance(row, Heading) else f"model {row.ref}"


ORDERS: Sequence[SortOrder] = (
    SortOrder("name", lambda model: natural(model.name)),
    SortOrder("size", lambda model: model.size_bytes, descending=True),
    SortOrder("bits", lambda model: model.bits_per_weight, descending=True),
    SortOrder("parameters", lambda model: model.parameters, descending=True),
    SortOrder("context", lambda model: model.context_length, descending=True),
    SortOrder("place", lambda model: natural(sources(model)[0])),
    SortOrder("last used", None),
)


class ModelList:
    """The models, and how the user arranged them."""

    def __init__(self) -> None:
        self.view = LibraryView()
        """What was found."""
        self.order = ORDERS[0]
        self.reversed = False
        self.grouped = True
        self.query = ""
        self.filter: Filter | None = None
        self.cursor = 0
        """The index of the selected row."""
        self.rows: Sequence[Row] = ()
        self.headings: Mapping[str, Heading] = {}
        """The heading of each group, by the group."""
        self.shown: Sequence[ModelEntry] = ()
        """The models that search and filter leave, in order, folded or not."""
        self._sorted: tuple[Sequence[ModelEntry], SortOrder, bool, Sequence[ModelEntry]] = ((), self.order, False, ())
        """The models as they were found, the order, whether it is reversed, and the models in that order."""
        self._folded: set[str] = set()
        self._marks: dict[str, None] = {}
        self._cursor_key = ""
        self._search = ModelSearch()

    @property
    def row(self) -> Row | None:
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    @property
    def model(self) -> ModelEntry | None:
        """The selected model; None where there is none, or a heading is selected."""
        row = self.row
        return row if isinstance(row, ModelEntry) else None

    @property
    def marked(self) -> list[ModelEntry]:
        """The marked models, in the order in which they were marked."""
        models = {model.ref: model for model in self.view.models}
        return [models[ref] for ref in self._marks if ref in models]

    def is_marked(self, model: ModelEntry) -> bool:
        return model.ref in self._marks

    def update(self, view: LibraryView) -> bool:
        """Take over what a scan has found so far. Returns whether any row may have changed."""
        same = view.models == self.view.models
        if same:
            # The rows and the search know these very objects.
            view = replace(view, models=self.view.models)
        self.view = view
        if view.complete:
            present = {model.ref for model in view.models}
            self._marks = {ref: None for ref in self._marks if ref in present}
        if not same:
            self._arrange()
        return not same

    # Selecting and marking

    def select(self, index: int) -> None:
        self.cursor = max(0, min(len(self.rows) - 1, index))
        self._cursor_key = key_of(self.rows[self.cursor]) if self.rows else ""

    def select_first(self, wanted: Callable[[ModelEntry], bool]) -> bool:
        """Select the first model that is wanted. Returns whether there is one."""
        for index, row in enumerate(self.rows):
            if isinstance(row, ModelEntry) and wanted(row):
                self.select(index)
                return True
        return False

    def toggle_mark(self) -> None:
        """Mark or unmark the selected model."""
        model = self.model
        if model is not None and model.ref in self._marks:
            del self._marks[model.ref]
        elif model is not None:
            self._marks[model.ref] = None

    def clear_marks(self) -> bool:
        """Unmark all models. Returns whether any was marked."""
        had = bool(self._marks)
        self._marks.clear()
        return had

    # Search and filters

    def search(self, query: str) -> None:
        """Keep the models that match all words, and select the best match."""
        if self.query and not query.strip() and (model := self.model) is not None:
            # The match stays selected, so its group has to be open.
            self._folded.discard(group_of(model))
        self.query = query.strip()
        scores = self._arrange()
        if scores and self.shown:
            best = max(self.shown, key=lambda model: scores[model.ref])
            self.select_first(lambda model: model is best)

    def set_filter(self, only: Filter | None) -> None:
        self.filter = only
        self._arrange()

    def next_source(self) -> None:
        """Keep the models of the next source; after the last one, all of them."""
        filters: list[Filter | None] = [None, *(each for each, _ in self.filters() if each.kind == "source")]
        place = filters.index(self.filter) if self.filter in filters else 0
        self.set_filter(filters[(place + 1) % len(filters)])

    def filters(self) -> list[tuple[Filter, int]]:
        """Every filter that keeps a model, with the number of models it keeps."""
        models = self.view.models
        places = Counter(source for model in models for source in sources(model) if source)
        kinds = Counter(model.architecture for model in models if model.architecture)
        states = {state: sum(map(has, models)) for state, has in _STATES.items()}
        return [
            *((Filter("source", source), count) for source, count in sorted(places.items())),
            *((Filter("architecture", kind), count) for kind, count in sorted(kinds.items())),
            *((Filter("state", state), count) for state, count in states.items() if count),
        ]

    # Order and groups

    def next_order(self) -> None:
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self.reversed = False
        self._arrange()

    def sort_by(self, title: str) -> None:
        """Sort by an order; reverse it if it is the current one."""
        order = next((order for order in ORDERS if order.title == title), self.order)
        self.reversed = not self.reversed if order is self.order else False
        self.order = order
        self._arrange()

    def reverse(self) -> None:
        self.reversed = not self.reversed
        self._arrange()

    def toggle_groups(self) -> None:
        self.grouped = not self.grouped
        self._arrange()

    def fold(self, *, folded: bool) -> None:
        """Fold or unfold the selected group; folding selects its heading."""
        row = self.row
        if row is None or not self.grouped:
            return
        key = row.key if isinstance(row, Heading) else group_of(row)
        if folded:
            self._folded.add(key)
            self._cursor_key = f"heading {key}"
        else:
            self._folded.discard(key)
        self._arrange()

    def toggle_all_folds(self) -> None:
        """Fold every group, or unfold all where every one is folded."""
        if not self.grouped:
            return
        keys = {group_of(model) for model in self.view.models}
        if self._folded >= keys:
            self._folded.clear()
        else:
            self._folded = keys
            if (model := self.model) is not None:
                self._cursor_key = f"heading {group_of(model)}"
        self._arrange()

    def _arrange(self) -> Mapping[str, int]:
        """Work the rows out anew. Returns how well each model matches the search, by its reference."""
        models = self._in_order()
        scores = self._search.scores(self.query, self.view.models) if self.query else {}
        if self.query:
            models = [model for model in models if model.ref in scores]
        if self.filter is not None:
            models = [model for model in models if self.filter.keeps(model)]
        self.shown = models
        self.rows = self._in_groups(self.shown) if self.grouped else self.shown
        place = next((index for index, row in enumerate(self.rows) if key_of(row) == self._cursor_key), None)
        if place is not None:
            self.cursor = place
        elif self.rows:
            # The selected row is gone or folded away: its neighbour takes its place.
            self.select(self.cursor)
        else:
            self.cursor = 0
        return scores

    def _in_order(self) -> Sequence[ModelEntry]:
        """All models in the chosen order, which no letter of a search changes."""
        found, order, is_reversed, models = self._sorted
        if found is not self.view.models or order is not self.order or is_reversed != self.reversed:
            models = self._sort(list(self.view.models))
            self._sorted = self.view.models, self.order, self.reversed, models
        return models

    def _sort(self, models: list[ModelEntry]) -> list[ModelEntry]:
        value = self.order.value
        if value is None:
            return models[::-1] if self.reversed else models
        models.sort(key=lambda model: (natural(model.name), group_of(model), model.size_bytes or 0, model.ref))
        known = [model for model in models if value(model) is not None]
        known.sort(key=value, reverse=self.order.descending != self.reversed)
        return known + [model for model in models if value(model) is None]

    def _in_groups(self, models: Sequence[ModelEntry]) -> list[Row]:
        groups: dict[str, list[ModelEntry]] = {}
        for model in models:
            groups.setdefault(group_of(model), []).append(model)
        # A search shows its matches even in folded groups.
        folded = set() if self.query else self._folded
        self.headings = {
            key: Heading(key, _name_of(members), tuple(members), key in folded) for key, members in groups.items()
        }
        rows: list[Row] = []
        for key, members in groups.items():
            rows += [self.headings[key], *(() if key in folded else members)]
        return rows


def _name_of(members: Sequence[ModelEntry]) -> str:
    """The name that most quantizations of a model have; of two names the shorter one."""
    names = [model.name for model in members]
    if len(set(names)) == 1:
        return names[0]
    counts = Counter(names)
    return min(counts, key=lambda name: (-counts[name], len(name), name))
