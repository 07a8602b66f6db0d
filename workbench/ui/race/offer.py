"""What stands in place of the lanes before there are two: the offer to make the quantizations that people compare."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from textual.content import Content
from textual.message import Message

from workbench.core.cancel import CancelToken
from workbench.core.errors import WorkbenchError
from workbench.core.models import ModelEntry
from workbench.gguf.model_files import ModelFiles
from workbench.gguf.quantization import QuantizeJob, QuantizePlan, is_quantized, rough_seconds
from workbench.gguf.targets import QUANT_TYPES
from workbench.lab.race.setup import missing_quants
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut_path, paragraph, styled
from workbench.ui.quantize.choices import SPARE_BYTES, sources_of
from workbench.ui.quantize.queue import QueuedQuantization
from workbench.ui.race.lane import RaceLines

_KEY, _NAME, _VALUE, _DIM, _WARN = "lane--figure", "lane--name", "lane--value", "lane--dim", "lane--warn"


@dataclass(slots=True)
class VariantsOffer:
    """The quantizations of a model that can be made."""

    model: ModelEntry
    source: ModelEntry
    jobs: Sequence[QuantizeJob]
    plans: dict[str, QuantizePlan] = field(default_factory=dict)
    """What is known about them, by the name of the type."""
    free_bytes: int | None = None
    problem: str = ""
    """Why they cannot be made."""

    @property
    def complete(self) -> bool:
        """Whether all sizes are known."""
        return len(self.plans) == len(self.jobs)

    @property
    def possible(self) -> list[QuantizeJob]:
        """Those that can be made, as far as is known."""
        plans = [(job, self.plans.get(job.kind.name)) for job in self.jobs]
        return [job for job, plan in plans if plan is None or (plan.size is not None and not plan.needs_imatrix)]

    @property
    def total_bytes(self) -> int:
        """What the disk has to hold."""
        return sum(plan.size.file_bytes for plan in self.plans.values() if plan.size is not None)

    @property
    def refusal(self) -> str:
        """Why Enter makes nothing; empty where it does."""
        if self.problem or not self.possible:
            return self.problem or "None of them can be made from this file."
        if self.free_bytes is not None and self.total_bytes + SPARE_BYTES > self.free_bytes:
            return f"They take {fmt.size(self.total_bytes)}, and only {fmt.size(self.free_bytes)} are free there."
        return ""


def offer_for(model: ModelEntry, variants: Sequence[ModelEntry], files: ModelFiles) -> VariantsOffer | None:
    """The offer for a model with these quantizations; None where there is nothing to make, or no file to make it of."""
    sources, wanted = sources_of(model, variants), missing_quants(variants)
    if not sources or not wanted or sources[0].path is None:
        return None
    source = sources[0]
    path, again = Path(sources[0].path), is_quantized(source.quant)
    kinds = [QUANT_TYPES[name] for name in wanted]
    jobs = [QuantizeJob(path, files.target(path, source.name, kind), kind, allow_requantize=again) for kind in kinds]
    return VariantsOffer(model, source, jobs)


def made_entry(source: ModelEntry, queued: QueuedQuantization) -> ModelEntry:
    """The model that a finished job made, before a scan has found it."""
    assert queued.result is not None
    path, result = str(queued.result.path), queued.result
    return replace(
        source, ref=path, path=path, quant=result.kind.name, size_bytes=result.size_bytes,
        bits_per_weight=result.bits_per_weight, source="models", loaded=False,
    )  # fmt: skip


def offer_lines(offer: VariantsOffer, width: int, add_key: str, *, wanted: bool, then: str) -> list[Content]:
    """The offer: what Enter makes, with sizes and times, from which file, and into which folder.

    `wanted`: Enter was pressed; `then` is what follows.
    """
    cores = os.cpu_count() or 1
    name, quant = clean_line(offer.model.name), clean_line(offer.source.quant or "this file")
    lines = paragraph(f"A race needs two models, and there is one quantization of {name} here.", width, 0, _VALUE)
    lines += [Content("")]
    if refusal := offer.refusal:
        lines += paragraph(clean_line(refusal), width, 0, _WARN)
    elif wanted:
        text = "These are being made; Esc stops. Type the question meanwhile: it is asked as soon as they are ready."
        lines += paragraph(text, width, 0, _VALUE)
    else:
        lines += [styled(("Enter", _KEY), (f" makes these and {then}:", _VALUE))]
    for job in offer.jobs:
        plan = offer.plans.get(job.kind.name)
        predicted = plan.size if plan is not None else None
        size = fmt.size(predicted.file_bytes) if predicted else "…" if plan is None else fmt.DASH
        weights = round(8 * predicted.weights_bytes / predicted.bits_per_weight) if predicted else None
        seconds = rough_seconds(offer.source.parameters or weights, cores)
        time = "" if seconds is None else f"   about {max(1, round(seconds))} s"
        lines.append(styled((f"  {job.kind.name:<8}", _NAME), (f"{size:>10}", _VALUE), (time, _DIM)))
    folder = cut_path(str(offer.jobs[0].target.parent), max(20, width - 30))
    free = "" if offer.free_bytes is None else f", where {fmt.size(offer.free_bytes)} are free"
    lines += [Content(""), *paragraph(f"Written to {folder}{free}.", width, 0, _DIM)]
    if offer.jobs[0].allow_requantize:
        text = (
            f"Made from {quant}, which is quantized already: F16 then has the values of {quant}, and the others are "
            "worse than those made from the original."
        )
        lines += paragraph(text, width, 0, _DIM)
    return [*lines, Content(""), styled((add_key, _KEY), (" adds a model of this machine instead.", _DIM))]


class RaceOffer(RaceLines):
    """Stands in place of the lanes until there are two."""

    @dataclass
    class Accepted(Message):
        """The user wants the quantizations; `made` takes what was made."""

        jobs: Sequence[QuantizeJob]
        model: str
        made: Callable[[Sequence[QueuedQuantization]], Awaitable[None]]

    class Stopped(Message):
        """The user stops the making."""

    def __init__(self, files: ModelFiles, add_key: str) -> None:
        super().__init__(widget_id="race-offer")
        self._files = files
        self.add_key = add_key
        self._text = ""
        self._cancel = CancelToken()
        self._accepted: Callable[[Sequence[QueuedQuantization]], Awaitable[None]] | None = None
        """Takes what was made, where the user wants it made."""
        self.offer: VariantsOffer | None = None
        self.making = False
        self.looking = False
        """Whether models are looked for."""
        self.question = ""
        """What is asked as soon as there are lanes."""

    def take_question(self) -> str:
        """The question that waits, which does no longer; empty where none does."""
        question, self.question = self.question, ""
        return question

    @property
    def alone(self) -> ModelEntry | None:
        """The model that waits for others."""
        return self.offer.model if self.offer is not None else None

    def say(self, text: str, *, looking: bool = True) -> None:
        """Show a text instead of an offer."""
        self.offer, self._text, self.looking = None, text, looking
        self.display = True
        self.show()

    def close(self) -> None:
        self._cancel.set()
        self.looking = False
        self.offer, self.making, self._accepted, self.display = None, False, None, False

    async def propose(self, offer: VariantsOffer) -> None:
        """Show an offer, then the sizes as they are worked out."""
        self._cancel = cancel = CancelToken()
        self.offer, self.making, self._accepted = offer, False, None
        self.display = True
        self.show()

        def planned(plan: QuantizePlan) -> None:
            offer.plans[plan.kind.name] = plan
            self.show()

        job = offer.jobs[0]
        try:
            offer.problem = await self._files.target_problem(job)
            offer.free_bytes = await self._files.free_bytes(job.target.parent)
            await self._files.plan(job.source, [each.kind for each in offer.jobs], None, planned, cancel)
        except WorkbenchError as error:
            offer.problem = "" if cancel.is_set else error.message
        self.show()
        if self.offer is offer:
            self._begin()

    def on_resize(self) -> None:
        self.show()

    def show(self) -> None:
        """Lay out what is shown."""
        width = max(20, self.size.width)
        if self.offer is None:
            self.set_lines(paragraph(clean_line(self._text), width, 0, _VALUE))
            return
        wanted = self._accepted is not None and not self.offer.refusal
        then = "asks them your question" if self.question else "puts them side by side"
        self.set_lines(offer_lines(self.offer, width, self.add_key, wanted=wanted, then=then))

    def accept(self, made: Callable[[Sequence[QueuedQuantization]], Awaitable[None]]) -> None:
        """Have them made, as soon as their sizes are known, and where they can be."""
        offer = self.offer
        if offer is None or self.making:
            return
        self._accepted = made
        self._begin()

    def _begin(self) -> None:
        offer, made = self.offer, self._accepted
        if offer is None or made is None:
            return
        if (offer.complete or offer.problem) and not offer.refusal:
            self.making = True
            # By way of the widgets it would end at the screen, where that is what called: Textual takes a message no
            # further than to its sender.
            self.app.post_message(self.Accepted(offer.possible, offer.model.name, made))
        self.show()
