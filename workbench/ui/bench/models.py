"""The models that the bench measures: the chat's model, until the user chooses others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from textual.screen import Screen

from workbench.core.errors import WorkbenchError
from workbench.core.kept import kept_recipe
from workbench.core.models import ModelEntry
from workbench.core.recipe import Recipe
from workbench.core.servers import is_server_ref
from workbench.lab.bench.foresight import Foresight, foresee
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.record import BenchRecord, Kind
from workbench.ui.services import Services

RECALLED = 100
"""The newest kept runs, which are looked at for the speed of a model."""


class BenchModels:
    """The chosen models, and the dialog that chooses one."""

    def __init__(
        self, screen: Screen[None], services: Services, changed: Callable[[], object], say: Callable[[str], object]
    ) -> None:
        self._screen = screen
        self._services = services
        self._changed = changed
        self._say = say
        self._models: list[ModelEntry] = []
        self._kept: Sequence[BenchRecord] = ()
        self._chosen = False
        """Whether the user has changed the list; until then it follows the chat."""

    def follow(self, model: ModelEntry | None) -> None:
        """Take the chat's model, unless the user has chosen others."""
        if model is not None and not self._chosen:
            self._models = [model]

    @property
    def recipes(self) -> Mapping[str, Recipe | None]:
        """By the reference of each model, its Modelfile and what is kept for it."""
        return {
            model.ref: kept_recipe(self._services.kept.of(model)).onto(model.recipe or Recipe())
            for model in self._models
        }

    async def recall(self) -> None:
        """Read the kept runs, from which the time of a plan follows."""
        with suppress(WorkbenchError):
            self._kept = (await self._services.bench.bench_runs.kept())[:RECALLED]
            self._changed()

    def foresee(self, plan: BenchPlan) -> Foresight:
        return foresee(plan, {model.ref: model for model in self._models}, self._kept)

    @property
    def names(self) -> Mapping[str, str]:
        """By the reference of each model, its name."""
        return {model.ref: model.name for model in self._models}

    def of(self, kind: Kind) -> Sequence[ModelEntry]:
        """The models that a kind of run can measure."""
        return [model for model in self._models if kind != "sweep" or is_server_ref(model.ref)]

    async def put(self, refs: Sequence[str]) -> list[str]:
        """Take the models with these references, and return those that are not on this machine any more."""
        known = await self._services.catalog.models()
        found = {
            ref: model
            for ref in refs
            for model in known
            if ref in (model.ref, model.path, f"{model.name}:{model.quant}")
        }
        self._models, self._chosen = list({model.ref: model for model in found.values()}.values()), True
        return [ref for ref in refs if ref not in found]

    def remove(self, model: ModelEntry) -> None:
        """Take a model out of the list."""
        self._chosen = True
        self._models.remove(model)
        self._changed()

    def choose(self, open_model: ModelEntry | None, instead: ModelEntry | None = None) -> None:
        """Let the user choose a model, to add or to put in the place of another."""
        from workbench.ui.dialogs.model_picker import ModelPicker

        def chosen(model: ModelEntry | None) -> None:
            if model is None:
                return
            if any(each.is_same(model) for each in self._models):
                self._say("This model is in the list. To measure it in two ways, give a field two values.")
                return
            self._chosen = True
            if instead is None:
                self._models.append(model)
            else:
                self._models[self._models.index(instead)] = model
            self._changed()

        self._screen.app.push_screen(ModelPicker(self._services, open_model, enter="adds"), chosen)
