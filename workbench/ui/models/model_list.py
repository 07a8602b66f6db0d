"""The list of models as the user has arranged it: searched, filtered, sorted, grouped, folded and marked.

It holds no widget. Whatever changes, the model in hand stays in hand as long as it is there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.core.models import LibraryView, ModelEntry
from workbench.ui.models.fuzzy import found

_NUMBER = re.compile(r"\d{1,12}")
_State = Literal["problem", "mismatch", "several"]


@dataclass(frozen=True, slots=True)
class Heading:
    """The row above the quantizations of one base model."""

    key: str
    """The same for all of them."""
    name: str
    members: tuple[ModelEntry, ...]
    """Those that are shown below it, or would be."""
    folded: bool = False

    @property
    def common(self) -> ModelEntry:
        """The one that stands for all of them in what they have in common: the first that can be read."""
        return next((model for model in self.members if not model.problem), self.members[0])


Row = Heading | ModelEntry


@dataclass(frozen=True, slots=True)
class Order:
    """A way to sort."""

    title: str
    """What it sorts by, in words."""
    value: Callable[[ModelEntry], str | float | None] | None
    """What is compared; None for the order in which models are found. A model without a value comes last."""
    descending: bool = False
    """Whether the largest comes first unless it is turned round."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Models that have something in common."""

    kind: Literal["source", "architecture", "state"]
    value: str

    def keeps(self, model: ModelEntry) -> bool:
        """Whether a model is one of them."""
        match self.kind:
            case "source":
                return self.value in sources(model)
            case "architecture":
                return model.architecture == self.value
        return _has(model, self.value)

    @property
    def words(self) -> str:
        """What they have in common, in words."""
        return _STATES[self.value] if self.kind == "state" else self.value


_STATES: dict[str, str] = {
    "problem": "incomplete or unreadable",
    "mismatch": "label contradicted by the tensors",
    "several": "in several places",
}


def _has(model: ModelEntry, state: str) -> bool:
    match state:
        case "problem":
            return bool(model.problem)
        case "mismatch":
            return bool(model.label_mismatch)
    return len(model.places) > 1


def sources(model: ModelEntry) -> Sequence[str]:
    """Everywhere that a model was found."""
    return list(dict.fromkeys([place.source for place in model.places] or [model.source]))


def group_of(model: ModelEntry) -> str:
    """The same for all quantizations of one base model."""
    return f"group {model.group}" if model.group else f"name {model.name}"


def key_of(row: Row) -> str:
    """What names a row for as long as it is there."""
    return f"heading {row.key}" if isinstance(row, Heading) else f"model {row.ref}"


def natural(text: str) -> str:
    """`text` so that its numbers are sorted as numbers and capitals do not count."""
    return _NUMBER.sub(lambda digits: digits[0].zfill(12), text.casefold())


ORDERS: Sequence[Order] = (
    Order("name", lambda model: natural(model.name)),
    Order("size", lambda model: model.size_bytes, descending=True),
    Order("bits", lambda model: model.bits_per_weight, descending=True),
    Order("parameters", lambda model: model.parameters, descending=True),
    Order("context", lambda model: model.context_length, descending=True),
    Order("place", lambda model: natural(sources(model)[0])),
    Order("last used", None),
)


class Shelf:
    """The models, and how the user looks at them."""

    def __init__(self) -> None:
        self._view = LibraryView()
        self._folded: set[str] = set()
        self._marks: dict[str, None] = {}
        self._cursor_key = ""
        self.order = ORDERS[0]
        self.turned = False
        """Whether the order is turned round."""
        self.grouped = True
        self.query = ""
        self.filter: Filter | None = None
        self.cursor = 0
        """The index of the row in hand."""
        self.rows: Sequence[Row] = ()
        self.headings: Mapping[str, Heading] = {}
        """The heading of each group, by what `group_of` gives."""
        self.shown: Sequence[ModelEntry] = ()
        """The models that search and filter leave, in order, folded or not."""

    # What there is

    @property
    def view(self) -> LibraryView:
        """What was found."""
        return self._view

    @property
    def row(self) -> Row | None:
        """The row in hand; None where there is none."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    @property
    def model(self) -> ModelEntry | None:
        """The model in hand; None where there is none, or a heading."""
        row = self.row
        return row if isinstance(row, ModelEntry) else None

    @property
    def marked(self) -> list[ModelEntry]:
        """The marked models, in the order in which they were marked."""
        models = {model.ref: model for model in self._view.models}
        return [models[ref] for ref in self._marks if ref in models]

    def is_marked(self, model: ModelEntry) -> bool:
        """Whether a model is marked."""
        return model.ref in self._marks

    def take(self, view: LibraryView) -> bool:
        """Show what a search has found so far. Returns whether any row may have changed."""
        same = view.models == self._view.models
        self._view = view
        if view.complete:
            at_hand = {model.ref for model in view.models}
            self._marks = {ref: None for ref in self._marks if ref in at_hand}
        if not same:
            self._arrange()
        return not same

    # What the user does

    def move_to(self, index: int) -> None:
        """Take a row in hand."""
        self.cursor = max(0, min(len(self.rows) - 1, index))
        self._cursor_key = key_of(self.rows[self.cursor]) if self.rows else ""

    def go_to(self, wanted: Callable[[ModelEntry], bool]) -> bool:
        """Take the first model in hand that is wanted. Returns whether there is one."""
        for index, row in enumerate(self.rows):
            if isinstance(row, ModelEntry) and wanted(row):
                self.move_to(index)
                return True
        return False

    def search(self, query: str) -> None:
        """Keep the models that have these words, and take the one in hand that has them best."""
        if self.query and not query.strip() and (model := self.model) is not None:
            # What was found stays in hand, so its group cannot be folded any more.
            self._folded.discard(group_of(model))
        self.query = query.strip()
        scores = self._arrange()
        if scores:
            best = max(self.shown, key=lambda model: scores[model.ref])
            self.go_to(lambda model: model is best)

    def keep(self, only: Filter | None) -> None:
        """Keep the models that have something in common; None keeps all."""
        self.filter = only
        self._arrange()

    def next_source(self) -> None:
        """Keep the models of the next source; after the last one, all of them."""
        filters: list[Filter | None] = [None, *(each for each, _ in self.filters() if each.kind == "source")]
        place = filters.index(self.filter) if self.filter in filters else 0
        self.keep(filters[(place + 1) % len(filters)])

    def sort(self) -> None:
        """Sort by what comes next."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self.turned = False
        self._arrange()

    def sort_by(self, title: str) -> None:
        """Sort by something; by the same once more, the other way round."""
        order = next((order for order in ORDERS if order.title == title), self.order)
        self.turned = not self.turned if order is self.order else False
        self.order = order
        self._arrange()

    def turn(self) -> None:
        """Turn the order round."""
        self.turned = not self.turned
        self._arrange()

    def regroup(self) -> None:
        """Show quantizations under their base models, or all models in one row each."""
        self.grouped = not self.grouped
        self._arrange()

    def fold(self, *, folded: bool) -> None:
        """Fold or unfold the group in hand; a folded one has its heading in hand."""
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

    def fold_all(self) -> None:
        """Fold every group, or unfold all where every one is folded."""
        if not self.grouped:
            return
        keys = {group_of(model) for model in self._view.models}
        row = self.row
        if self._folded >= keys:
            self._folded.clear()
        else:
            self._folded = keys
            if isinstance(row, ModelEntry):
                self._cursor_key = f"heading {group_of(row)}"
        self._arrange()

    def mark(self) -> bool:
        """Mark the model in hand, or take its mark away. Returns whether there is one."""
        model = self.model
        if model is None:
            return False
        if model.ref in self._marks:
            del self._marks[model.ref]
        else:
            self._marks[model.ref] = None
        return True

    def clear_marks(self) -> bool:
        """Take all marks away. Returns whether there were any."""
        had = bool(self._marks)
        self._marks.clear()
        return had

    def filters(self) -> list[tuple[Filter, int]]:
        """What models have in common, and how many do."""
        models = self._view.models
        places = Counter(source for model in models for source in sources(model) if source)
        kinds = Counter(model.architecture for model in models if model.architecture)
        found_ones = [(Filter("source", source), count) for source, count in sorted(places.items())]
        found_ones += [(Filter("architecture", kind), count) for kind, count in sorted(kinds.items())]
        for state in _STATES:
            if count := sum(_has(model, state) for model in models):
                found_ones.append((Filter("state", state), count))
        return found_ones

    # How it comes about

    def _arrange(self) -> Mapping[str, int]:
        """Work the rows out anew. Returns how well each model has what is searched for, by its reference."""
        scores: dict[str, int] = {}
        models: Sequence[ModelEntry] = self._view.models
        if self.filter is not None:
            models = [model for model in models if self.filter.keeps(model)]
        if self.query:
            scores = {model.ref: score for model in models if (score := _score(self.query, model))}
            models = [model for model in models if model.ref in scores]
        self.shown = self._sorted(list(models))
        self.rows = self._in_groups(self.shown) if self.grouped else self.shown
        keys = [key_of(row) for row in self.rows]
        if self._cursor_key in keys:
            self.cursor = keys.index(self._cursor_key)
        elif keys:
            # What was in hand is gone or folded away: its neighbour takes its place.
            self.move_to(self.cursor)
        else:
            self.cursor = 0
        return scores

    def _sorted(self, models: list[ModelEntry]) -> list[ModelEntry]:
        value = self.order.value
        if value is None:
            return models[::-1] if self.turned else models
        models.sort(key=lambda model: (natural(model.name), group_of(model), model.size_bytes or 0, model.ref))
        known = [model for model in models if value(model) is not None]
        known.sort(key=lambda model: _comparable(value(model)), reverse=self.order.descending != self.turned)
        return known + [model for model in models if value(model) is None]

    def _in_groups(self, models: Sequence[ModelEntry]) -> list[Row]:
        groups: dict[str, list[ModelEntry]] = {}
        for model in models:
            groups.setdefault(group_of(model), []).append(model)
        # What is searched for is not to be hidden.
        folded = set() if self.query else self._folded
        self.headings = {
            key: Heading(key, _name_of(members), tuple(members), key in folded) for key, members in groups.items()
        }
        rows: list[Row] = []
        for key, members in groups.items():
            rows += [self.headings[key], *(() if key in folded else members)]
        return rows


def _comparable(value: str | float | None) -> tuple[float, str]:
    return (0.0, value) if isinstance(value, str) else (value or 0.0, "")


def _name_of(members: Sequence[ModelEntry]) -> str:
    """What most quantizations of a model are called; of two names the shorter one."""
    names = Counter(model.name for model in members)
    return min(names, key=lambda name: (-names[name], len(name), name))


def _score(query: str, model: ModelEntry) -> int:
    """How well a model has what is searched for; its own name counts most."""
    return 2 * found(query, model.label) or found(query, _text(model))


def _text(model: ModelEntry) -> str:
    """What a search looks at."""
    places = " ".join(f"{place.source} {place.name}" for place in model.places) or model.source
    return f"{model.name} {model.quant or ''} {model.architecture or ''} {model.tensor_quant or ''} {places}"
