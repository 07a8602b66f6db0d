"""The pack of an evaluation: chosen from those that come along, the own ones and a path, or made from a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

from workbench.core.errors import WorkbenchError
from workbench.core.session import Session
from workbench.core.user_path import user_path
from workbench.lab.evals.from_session import pack_of
from workbench.lab.evals.pack import EvalPack
from workbench.lab.evals.read_pack import SUFFIXES, find_pack, shipped_packs
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.export import free_path
from workbench.ui.experiment.screen import ExperimentScreen

SAY_SECONDS = 12.0


class EvalPacks:
    """Holds the chosen pack; `changed` is called for another one."""

    def __init__(self, screen: ExperimentScreen, changed: Callable[[], object]) -> None:
        self._screen = screen
        self._changed = changed
        self.pack: EvalPack | None = None

    @property
    def name(self) -> str:
        """How the command line names the pack."""
        path = Path(self.pack.path if self.pack is not None else "")
        return path.stem if path.stem in shipped_packs() else str(path)

    def choose(self) -> None:
        shipped, folder = shipped_packs(), self._screen.services.export_folder
        own = sorted((path for path in folder.glob("*") if path.suffix in SUFFIXES[:2]), reverse=True)
        names = [*shipped, *map(str, own)]

        def chosen(found: int | str | None) -> None:
            if found is not None:
                self._work(self._read(found if isinstance(found, str) else names[found]), "read a pack")

        rows = [*shipped, *(path.name for path in own)]
        self._screen.app.push_screen(ChooseDialog("Choose a pack", rows, "or the path of a pack…"), chosen)

    def make(self, session: Session) -> None:
        """Make a pack of a session, in the folder of exports."""
        self._work(self._make(session), "make a pack")

    def _work(self, work: Coroutine[object, object, None], description: str) -> None:
        self._screen.run_worker(work, group="pack", exclusive=True, exit_on_error=False, description=description)

    async def _read(self, name: str) -> None:
        try:
            pack = await asyncio.to_thread(find_pack, str(user_path(name)))
        except WorkbenchError as error:
            self._screen.say(str(error), SAY_SECONDS)
            return
        self.pack = pack
        if count := len(pack.problems):
            broken = "1 case is broken" if count == 1 else f"{count} cases are broken"
            self._screen.say(f"{broken}: {pack.problems[0]}", SAY_SECONDS)
        self._changed()

    async def _make(self, session: Session) -> None:
        try:
            path = free_path(self._screen.services.export_folder, session.title, ".toml")
            written = await self._screen.services.write_document(path, pack_of(session))
        except WorkbenchError as error:
            self._screen.say(str(error), SAY_SECONDS)
            return
        await self._read(str(written))
        self._screen.say(f"Written to {written}: add checks in an editor, then choose it again.", SAY_SECONDS)
