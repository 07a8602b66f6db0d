"""Estimates of which models fit in memory together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from workbench.core.engine import DeviceNeed, Footprint, MemoryAdviser, Needs
from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.speculation import draft_model
from workbench.engine.files import LocalFiles

if TYPE_CHECKING:
    from workbench.gguf.fit import FitModel, FitQuestion
    from workbench.gguf.shares import Fit, Room, Share

Priced = TypeVar("Priced")


def draft_path(resolve: Callable[[str], ModelEntry], named: str) -> str:
    """The file of a draft model.

    Raises:
        WorkbenchError: There is no such model, or it has no file.
    """
    try:
        path = named if Path(named).is_absolute() else resolve(named).path
    except WorkbenchError as error:
        raise ParameterError(f"speculation names no draft model: {error.message}", error.hint) from None
    if path is None:
        raise ParameterError(f"speculation = {named}: that model has no file here.", "Name one that is on this disk.")
    return path


def draft_candidates(models: Iterable[ModelEntry], model: ModelEntry) -> list[ModelEntry]:
    """The models that are at most half as large as `model` and have its vocabulary, the smallest first."""
    from workbench.gguf.draft import Draft
    from workbench.gguf.reader import read_header

    if model.path is None or model.size_bytes is None:
        return []
    target, found = read_header(model.path), []
    for each in models:
        if each.path is not None and each.size_bytes is not None and 2 * each.size_bytes <= model.size_bytes:
            with suppress(WorkbenchError):
                Draft.checked(each.path, target)
                found.append(each)
    return sorted(found, key=lambda each: each.size_bytes or 0)


class LocalAdviser(MemoryAdviser):
    """Compares the needs of models with the free memory of this machine.

    `resolve` finds the model that a reference names, and raises a WorkbenchError.
    """

    def __init__(self, resolve: Callable[[str], ModelEntry], files: LocalFiles) -> None:
        self._resolve = resolve
        self._files = files

    @override
    async def fit_together(self, models: Sequence[tuple[str, LoadSettings]]) -> bool:
        if len(models) < 2:
            return True
        room = await self._files.room()
        mapped: set[Path] = set()
        for ref, load in models:
            try:
                entry = await asyncio.to_thread(self._resolve, ref)
                if entry.path is None:
                    continue
                path = Path(entry.path)
                model = await self._files.fit_model(path, entry.adapter_path)
                room = await self._beside_draft(load, path, model, room)
            except WorkbenchError:
                continue
            fit = model.price(model.question(load), room)
            if fit.refusal is not None:
                # It takes no memory.
                continue
            if path in mapped and not fit.gpu_layers:
                # A file that is mapped twice is in memory once; an adapter is copied each time.
                own = replace(fit.shares[0], weights_bytes=model.adapter_bytes)
                fit = replace(fit, shares=(own, *fit.shares[1:]))
            if not fit.fits:
                return False
            if load.is_mapped:
                mapped.add(path)
            room = room.without(fit.shares)
        return True

    @override
    async def footprint(self, model: ModelEntry, load: LoadSettings) -> Footprint | None:
        return await self._priced(model, load, _footprint)

    @override
    async def needs(self, model: ModelEntry, load: LoadSettings) -> Needs | None:
        return await self._priced(model, load, _needs)

    async def _beside_draft(self, load: LoadSettings, path: Path, model: FitModel, room: Room) -> Room:
        """What the draft model of these settings leaves free."""
        if not (named := draft_model(load.speculation)):
            return room
        shares = await asyncio.to_thread(self._draft_shares, named, load, path, model, room)
        return room.without(shares)

    def _draft_shares(
        self, named: str, load: LoadSettings, path: Path, model: FitModel, room: Room
    ) -> tuple[Share, ...]:
        from workbench.gguf.draft import Draft
        from workbench.gguf.reader import read_header

        draft = Draft.checked(draft_path(self._resolve, named), read_header(path))
        return draft.settings(load, model.question(load).n_ctx, room)[1]

    async def _priced(
        self, model: ModelEntry, load: LoadSettings, answer: Callable[[FitModel, FitQuestion, Room, Fit], Priced | None]
    ) -> Priced | None:
        """What `answer` finds in the estimate of a model; None where there is none."""
        if model.path is None:
            return None
        try:
            found = await self._files.fit_model(Path(model.path), model.adapter_path)
            question = found.question(load)
            room = await self._beside_draft(load, Path(model.path), found, await self._files.room())
            return answer(found, question, room, found.price(question, room))
        except (WorkbenchError, ArithmeticError, LookupError, TypeError, ValueError):
            # A layout that is not known.
            return None


def _footprint(found: FitModel, question: FitQuestion, room: Room, fit: Fit) -> Footprint | None:
    return None if fit.refusal is not None else Footprint(fit.total_bytes, found.largest_context(question, room))


def _needs(found: FitModel, question: FitQuestion, room: Room, fit: Fit) -> Needs:
    return Needs(
        tuple(
            DeviceNeed(
                share.device.name, share.total_bytes, max(0, share.device.free_bytes - share.device.reserve_bytes)
            )
            for share in fit.shares
        ),
        question.n_ctx,
        tuple(gpu.name for gpu in room.gpus),
        fit.gpu_layers,
        found.most_layers(question, room),
        found.layers,
        found.expert_layers,
        found.fewest_cpu_experts(question, room),
        fit.refusal,
    )
