"""The statistics: a panel on a wide screen, a strip of two rows on a narrow one."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.content import Content
from textual.geometry import Size

from workbench.ui.chat.stats_lines import Unmetered, panel_lines, strip_lines
from workbench.ui.kit.gauges import GAUGE_STYLES
from workbench.ui.widgets.lines import Lines
from workbench.ui.workspace.machine_watch import MachineView
from workbench.ui.workspace.readings import StatsReadings

NO_FIGURES = MachineView()


class StatsView(Lines):
    """Shows readings."""

    COMPONENT_CLASSES: ClassVar[set[str]] = GAUGE_STYLES

    def __init__(self, widget_id: str) -> None:
        super().__init__(widget_id=widget_id)
        self._readings = StatsReadings()

    @property
    def readings(self) -> StatsReadings:
        """The readings that are shown."""
        return self._readings

    def show(self, readings: StatsReadings) -> None:
        """Show `readings`; rows that look the same are not drawn again."""
        self._readings = readings
        if self.size.width:
            self.set_lines(self.lay_out(self.size))

    def on_resize(self) -> None:
        """Lay out in the new size."""
        self.show(self._readings)

    def lay_out(self, size: Size) -> list[Content]:
        """The lines for a size."""
        raise NotImplementedError


class StatsPanel(StatsView):
    """The figures beside the conversation."""

    def __init__(self) -> None:
        super().__init__("panel")
        self._unmetered: tuple[StatsReadings, int, Unmetered] | None = None

    def lay_out(self, size: Size) -> list[Content]:
        """One figure a row."""
        # A sample of the meters changes only its own figures.
        others, kept = replace(self._readings, machine=NO_FIGURES), self._unmetered
        if kept is None or kept[:2] != (others, size.width):
            kept = self._unmetered = (others, size.width, Unmetered.of(others, size.width))
        return panel_lines(self._readings, size.width, size.height, kept[2])


class StatsStrip(StatsView):
    """The figures in two rows."""

    def __init__(self) -> None:
        super().__init__("strip")

    def lay_out(self, size: Size) -> list[Content]:
        """As many figures as there is room for."""
        return strip_lines(self._readings, size.width)
