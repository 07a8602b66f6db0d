"""The kept decisions on the screen: keeping and exporting them."""

from __future__ import annotations

from workbench.core.errors import WorkbenchError
from workbench.lab.decision.record import FORMS, DecisionRecord, modelfile_of
from workbench.ui.experiment.screen import ExperimentScreen

EXPORTS = {
    ".md": "Markdown      the answer, the table and the plot, to read",
    ".json": "JSON          everything",
    ".csv": "CSV           one row for each that could be chosen",
    ".modelfile": "Modelfile     the choice with its settings",
}


class KeptDecisions:
    """Keeps decisions that are used."""

    def __init__(self, screen: ExperimentScreen) -> None:
        self._screen = screen

    def keep(self, record: DecisionRecord) -> None:
        async def keep() -> None:
            if (tools := self._screen.services.decision) is not None:
                try:
                    await tools.decision_runs.keep(record)
                except WorkbenchError as error:
                    self._screen.say(str(error), 8.0)

        self._screen.run_worker(keep(), group="keep", exit_on_error=False, description="keep the decision")

    def export(self, record: DecisionRecord) -> None:
        """Let the user write a decision to a file, and keep it."""

        def text(form: str) -> str:
            if form == ".modelfile":
                return modelfile_of(record, self._screen.services.session_text)
            return FORMS[form](record)

        self.keep(record)
        title = f"decision {record.id}"
        self._screen.export("the decision", EXPORTS, title, text)


def decision_row(record: DecisionRecord) -> str:
    """A decision in the list of those that are kept."""
    return f"{record.id}  {record.model}: {record.answer.sentence}"
