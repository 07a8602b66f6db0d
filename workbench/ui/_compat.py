"""Access to private parts of Textual where it has no public API. Checked against Textual 8.2.8, which is pinned."""

from __future__ import annotations

import asyncio
import os
import selectors
import sys
import time
import unicodedata
from codecs import getincrementaldecoder
from functools import lru_cache, partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich import cells
from textual._compositor import Compositor
from textual._styles_cache import StylesCache
from textual.cache import LRUCache
from textual.css.model import RuleSet, SelectorType
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.geometry import Region
from textual.screen import Screen

import workbench.ui.kit.strip_caches  # noqa: F401 - for what it changes
from workbench.ui.kit.graphemes import positioned
from workbench.ui.kit.mouse_reports import MouseReports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from textual.app import App
    from textual.binding import Binding
    from textual.css.styles import RulesMap
    from textual.driver import Driver
    from textual.strip import Strip
    from textual.widget import Widget

    _Path = tuple[object, ...]
    _Matched = dict[_Path, tuple[RulesMap | None, tuple[bool, bool, bool, bool], _Path]]

ESCAPE, OSC = "\x1b", "\x1b]"
ALT_ENTER, NEW_LINE = "\x1b\r", "\n"
"""The bytes of Alt+Enter in most terminals, which Textual would read as Enter; and of a new line."""
ASK_AGAIN_SECONDS = 1.0
"""How often a terminal that reports the mouse in the oldest form is asked for the other one."""
TURNS = 5
"""Turns of the event loop in which widgets that changed ask to be drawn."""
QUIET_SECONDS = 0.1
"""How often the thread that reads keys checks whether the program ends."""
PENDING_SECONDS = 0.01
"""How often it checks after an Escape: only time shows whether that was the key or the start of a sequence."""
THEMES_KEPT = 8
"""The number of themes whose parsed style sheets are cached."""
SHEETS_KEPT = 256
"""The number of sheets that are cached for each theme; there is one for each class of widget and of screen."""

STATES_KEPT = 32
"""How many combinations of sheets are cached with the rules that they have for a place in the tree."""
PLACES_KEPT = 1024
"""The most places that are cached for each of them."""

# Textual caches these styles by the object that asks for them as well: up to 1,024 removed widgets stayed in memory,
# with their rows. The colours alone decide.
_cached_styles: Any = StylesCache.get_inner_outer
_background_styles: Any = staticmethod(lru_cache(1024)(partial(_cached_styles.__wrapped__, None)))
StylesCache.get_inner_outer = _background_styles  # type: ignore[method-assign]

_draw_frame = Screen._on_timer_update


async def _draw_together(screen: Screen[Any]) -> None:
    """Draw all that one key changes in one frame.

    A screen draws as soon as the first widget asks for it. What a message changes on its way up, or a widget that asks
    a turn of the event loop later, would wait for the next frame: up to two periods of 1/60 s.
    """
    for _ in range(TURNS):
        await asyncio.sleep(0)
    _draw_frame(screen)


Screen._on_timer_update = _draw_together  # type: ignore[assignment, method-assign]

_draw = Screen._compositor_refresh


def draw_outside_batches(screen: Screen[Any]) -> None:
    """Draw a frame, unless it is discarded.

    In a batch Textual draws too, discards the frame, and takes it as shown: at the start the whole screen, so that the
    first frame would come later, and have holes.
    """
    if not screen.app._batch_count:
        _draw(screen)


Screen._compositor_refresh = draw_outside_batches  # type: ignore[assignment, method-assign]


def _renders_within(
    compositor: Compositor, crop: Region | None = None
) -> Iterator[tuple[Region, Region, Sequence[Strip]]]:
    """The widgets in a part of the screen, each with its clip and its rows there.

    Textual asks every widget whose clip overlaps the part, and for most that is the whole screen, for all of its rows.
    """
    size = compositor.size
    crop = crop or size.region
    rows = Region(0, crop.y, size.width, crop.height)
    for widget, (region, clip) in compositor.visible_widgets.items():
        within = clip.intersection(rows)
        if (shown := region.intersection(within)) and crop.overlaps(shown):
            yield region, within, widget.render_lines(shown.translate(-region.offset))
            if shown.contains_region(crop):
                # What comes now is behind this one.
                return


Compositor._get_renders = _renders_within  # type: ignore[assignment, method-assign]


def page_driver() -> type[Driver] | None:
    """The driver in the page of a browser, which ends with its server and keeps the columns of a row; else None."""
    if not os.environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver"):
        return None
    from textual.drivers.web_driver import WebDriver
    from textual.messages import ExitApp

    class PageDriver(WebDriver):
        """Writes as `PromptDriver` does."""

        def write(self, data: str) -> None:
            super().write(positioned(data) if OSC not in data else data)

        def run_input_thread(self) -> None:
            super().run_input_thread()
            self._app.post_message(ExitApp())

    return PageDriver


def prompt_driver() -> type[Driver] | None:
    """A terminal driver that reports an Escape key within `ESCDELAY`; None where Textual's own driver is used.

    Textual's driver checks for the end of that delay ten times a second only, so that a key which stops a model would
    be late by up to 0.1 s.
    """
    if sys.platform == "win32" or "TEXTUAL_DRIVER" in os.environ:
        return None
    from textual import constants
    from textual._xterm_parser import XTermParser
    from textual.drivers.linux_driver import LinuxDriver

    class PromptDriver(LinuxDriver):
        """Checks more often than its base while an Escape is pending, and takes every form of mouse reports.

        Keeps the columns of a row where a terminal measures a character differently.
        """

        def write(self, data: str) -> None:
            super().write(positioned(data) if OSC not in data else data)

        def run_input_thread(self) -> None:
            parser = XTermParser()
            decode = getincrementaldecoder("utf-8")("replace").decode
            reports = MouseReports()
            asked = float("-inf")
            pending_until = 0.0
            with selectors.SelectSelector() as selector:
                selector.register(self.fileno, selectors.EVENT_READ)
                while not self.exit_event.is_set():
                    pending = time.monotonic() < pending_until
                    if selector.select(PENDING_SECONDS if pending else QUIET_SECONDS):
                        text = decode(reports.feed(os.read(self.fileno, 4096))).replace(ALT_ENTER, NEW_LINE)
                        if reports.seen and time.monotonic() - asked > ASK_AGAIN_SECONDS:
                            # What the terminal forgot together with the form of the reports.
                            self._enable_mouse_support()
                            self._enable_bracketed_paste()
                            asked = time.monotonic()
                        if ESCAPE in text:
                            pending_until = time.monotonic() + constants.ESCAPE_DELAY + QUIET_SECONDS
                        for event in parser.feed(text) if text else ():
                            self.process_message(event)
                    for event in parser.tick():
                        self.process_message(event)

    return PromptDriver


def send(app: App[Any], sequence: str) -> None:
    """Write a sequence to the terminal, past what is drawn; a page of a browser gets none."""
    if sequence and app._driver is not None and not app.is_web:
        app._driver.write(sequence)


def bindings_of(widget: Widget, key: str) -> Sequence[Binding]:
    """The bindings that a widget itself has for a key, without those of its parents."""
    return widget._bindings.key_to_bindings.get(key, ())


class KeptStylesheet(Stylesheet):
    """Parses the same text with the same variables once in a process, and finds the rules of a place in the tree once.

    Textual parses every sheet again whenever the variables are set, even to the same values: twice before the first
    screen is drawn, and all sheets of all screens for each theme that is tried. It matches the rules against every
    widget and every component class of it: when it is mounted, and again whenever its screen is shown or a class of
    what holds it changes.
    """

    def __init__(self, *, variables: dict[str, str] | None = None) -> None:
        super().__init__(variables=variables)
        self._parse_cache = _parsed_with(self._variables)
        self._matched_map: dict[str, list[RuleSet]] | None = None
        self._ids: frozenset[str] = frozenset()
        self._matched: _Matched = {}
        self._path: _Path = ()
        self._components_keep = True
        """Whether the styles of the component classes depend on nothing but the path."""

    def apply(
        self, node: DOMNode, *, animate: bool = False, cache: dict[tuple[Any, ...], RulesMap] | None = None
    ) -> None:
        if self._matched_map is not self.rules_map:
            self._matched_map, (_, self._ids, self._matched) = self.rules_map, _matched_by(self.rules)
        is_component = type(node) is DOMNode
        # A component class belongs to the widget that was the last one here.
        path = (*self._path, node.classes) if is_component else _path(node, self._ids)
        if known := self._matched.get(path):
            rules, flags, path = known
        if not is_component:
            self._path = path
        if known:
            node._has_hover_style, node._has_focus_within, node._has_order_style, node._has_odd_or_even = flags
            if rules is not None and vars(node).get("_rules_now") is rules:
                # What it inherits may have changed.
                node.notify_style_update()
            elif rules is not None:
                self.replace_rules(node, rules, animate=animate)
            self._process_component_classes(node)
            return
        found: dict[tuple[Any, ...], RulesMap] = {}
        super().apply(node, animate=animate, cache=found)
        if node._has_focus_within or node._has_order_style or node._has_odd_or_even:
            # The place of the focus below it, and the nodes beside it, are no part of the path.
            self._components_keep = False
            return
        if len(self._matched) >= PLACES_KEPT:
            self._matched.clear()
        flags = node._has_hover_style, False, False, False
        self._matched[path] = next(iter(found.values()), None), flags, path

    @classmethod
    def replace_rules(cls, node: DOMNode, rules: RulesMap, animate: bool = False) -> None:
        super().replace_rules(node, rules, animate)
        vars(node)["_rules_now"] = rules

    def _process_component_classes(self, node: DOMNode) -> None:
        if type(node) is DOMNode:
            return
        state, place = vars(node), (self._rules_map, self._path)
        if (before := state.get("_components_of")) and before[0] is place[0] and before[1] is place[1]:
            return
        self._components_keep = True
        super()._process_component_classes(node)
        state["_components_of"] = place if self._components_keep else None

    def set_variables(self, variables: dict[str, str]) -> None:
        # The base class clears the cache, which other sheets share.
        self._parse_cache = LRUCache(1)
        super().set_variables(variables)
        self._parse_cache = _parsed_with(variables)

    def reparse(self) -> None:
        self.parse()


def _path(node: DOMNode, ids: frozenset[str]) -> _Path:
    """All that the rules of a node may depend on: the classes and states of it and of what holds it.

    Only the `ids` that a rule names count, so that the many fields of a form have one path.
    """
    path: list[object] = []
    holder: object = node
    while isinstance(holder, DOMNode):
        state = vars(holder)
        # A state that was never read is not set yet, and false.
        states = tuple(bool(state.get(name)) for name in _STATES)
        known = holder._id if holder._id in ids else None
        path += (type(holder), known, holder.classes, states, getattr(holder, "can_focus", None))
        if holder._parent is None:
            path.append(frozenset(holder.get_pseudo_classes()))
        holder = holder._parent
    return tuple(path)


_STATES = "_reactive_mouse_hover", "_reactive_has_focus", "_reactive_disabled"
_matches: LRUCache[tuple[int, ...], tuple[list[RuleSet], frozenset[str], _Matched]] = LRUCache(STATES_KEPT)
"""What was matched, by the identities of all rules, which it holds, and the ids that they name."""


def _matched_by(rules: list[RuleSet]) -> tuple[list[RuleSet], frozenset[str], _Matched]:
    key = tuple(map(id, rules))
    if (kept := _matches.get(key)) is None:
        selectors = (each for rule in rules for alternative in rule.selector_set for each in alternative.selectors)
        ids = frozenset(each.name for each in selectors if each.type == SelectorType.ID)
        kept = _matches[key] = list(rules), ids, {}
    return kept


_parsed: LRUCache[frozenset[tuple[str, str]], LRUCache[tuple, list[RuleSet]]] = LRUCache(THEMES_KEPT)
"""The parsed rules by the variables. No sheet changes a rule after parsing."""


def _parsed_with(variables: dict[str, str]) -> LRUCache[tuple, list[RuleSet]]:
    key = frozenset(variables.items())
    if (kept := _parsed.get(key)) is None:
        kept = _parsed[key] = LRUCache(SHEETS_KEPT)
    return kept


def _mark_widths(first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """A range of characters without a width, with the spacing marks in it as parts of width 1."""
    for is_spacing, codes in groupby(range(first, last + 1), lambda code: unicodedata.category(chr(code)) == "Mc"):
        part = list(codes)
        yield part[0], part[-1], int(is_spacing)


_load_cell_table: Callable[[str], cells.CellTable] = vars(cells)["load_cell_table"]


@lru_cache(maxsize=4)
def _cell_table(version: str = "auto") -> cells.CellTable:
    """The widths of Rich, but a cell for spacing marks, such as Indic vowel signs: most terminals give them one."""
    table = _load_cell_table(version)
    widths = [
        part
        for first, last, width in table.widths
        for part in ([(first, last, width)] if width else _mark_widths(first, last))
    ]
    return table._replace(widths=widths)


vars(cells)["load_cell_table"] = _cell_table
