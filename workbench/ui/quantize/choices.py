"""The choices of a quantization, without widgets: its source, and the types with their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from textual.content import Content

from workbench.core.models import ModelEntry
from workbench.gguf.quantization import QuantizePlan, is_quantized, source_rank
from workbench.gguf.targets import QuantType
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.table import Column, Table
from workbench.ui.kit.text import cut_path, styled

SPARE_BYTES = 16 * 2**20
"""Has to stay free on the disk beside the file."""
_USUAL = ("Q4_K_M", "Q8_0", "Q6_K", "Q5_K_M", "Q4_0", "F16")
"""The types that most users want, the most wanted one first."""
_MATRIX_WORDS = {"": "", "better": "helps", "needed": "needed"}


@dataclass(slots=True)
class Choices:
    """What is known about the types that can be made."""

    present: frozenset[str]
    """The quantizations of the model that exist already."""
    source_bytes: int | None = None
    free_bytes: int | None = None
    """Free on the disk of the target."""
    has_imatrix: bool = False
    """Whether an importance matrix is given."""
    plans: dict[str, QuantizePlan] = field(default_factory=dict)
    """The plans worked out so far, by the name of the type."""

    def lacks_room(self, plan: QuantizePlan) -> bool:
        """Whether the disk has no room for the file."""
        size, free = plan.size, self.free_bytes
        return size is not None and free is not None and size.file_bytes + SPARE_BYTES > free

    def table(self) -> Table[QuantType]:
        """The types with their bits and sizes, as far as these are known, and their purpose."""
        return Table(
            [
                Column("  type", self._name, 12),
                Column("bits", self._bits, 5, right=True),
                Column("size", self._size, 9, right=True),
                Column("share", self._share, 5, right=True, style="rows--dim"),
                Column("imatrix", self._matrix, 8),
                Column("purpose", self._purpose),
            ]
        )

    def _cell(self, kind: QuantType, text: str, style: str = "") -> Content:
        plan = self.plans.get(kind.name)
        blocked = plan is not None and (plan.size is None or plan.needs_imatrix or self.lacks_room(plan))
        return styled((clean_line(text), "rows--dim" if blocked else style))

    def _name(self, kind: QuantType) -> Content:
        mark = ("✓ ", "rows--good") if kind.name in self.present else ("  ", "")
        return styled(mark) + self._cell(kind, kind.name, "rows--strong")

    def _bits(self, kind: QuantType) -> Content:
        if (plan := self.plans.get(kind.name)) is None:
            return styled((f"≈{kind.default.bits_per_weight:.1f}", "rows--dim"))
        return self._cell(kind, fmt.bits(plan.size.bits_per_weight if plan.size else None))

    def _size(self, kind: QuantType) -> Content:
        if (plan := self.plans.get(kind.name)) is None:
            return styled(("…", "rows--dim"))
        text = fmt.size(plan.size.file_bytes if plan.size else None)
        return styled((text, "rows--error")) if self.lacks_room(plan) else self._cell(kind, text, "rows--figure")

    def _share(self, kind: QuantType) -> str:
        size = plan.size if (plan := self.plans.get(kind.name)) else None
        return fmt.percent(100 * size.file_bytes / self.source_bytes) if size and self.source_bytes else ""

    def _matrix(self, kind: QuantType) -> Content:
        plan = self.plans.get(kind.name)
        text = "given" if kind.imatrix and self.has_imatrix else _MATRIX_WORDS[kind.imatrix]
        return styled((text, "rows--warning" if plan is not None and plan.needs_imatrix else "rows--dim"))

    def _purpose(self, kind: QuantType) -> Content:
        plan = self.plans.get(kind.name)
        return self._cell(kind, f"cannot be made: {plan.problem}" if plan and plan.size is None else kind.about)


def sources_of(entry: ModelEntry, variants: Sequence[ModelEntry]) -> list[ModelEntry]:
    """The files a quantization can be made from, the best first: F32, BF16 and F16 before those that are quantized."""
    usable = [model for model in (*variants, entry) if model.path is not None and not model.problem]
    unique = {model.path: model for model in reversed(usable)}.values()
    return sorted(unique, key=lambda model: (source_rank(model.quant), -(model.size_bytes or 0), model.ref))


def first_choice(kinds: Sequence[QuantType], present: frozenset[str]) -> int:
    """The index of the type that is selected first: a usual one that does not exist yet."""
    names = [kind.name for kind in kinds]
    return names.index(next((name for name in _USUAL if name not in present), _USUAL[0]))


def source_lines(source: ModelEntry, index: int, count: int, width: int) -> list[Content]:
    """A source, one of `count`, in two rows: its quantization, and its path."""
    first = styled(
        ("from  ", "rows--dim"),
        (clean_line(source.quant or fmt.DASH), "rows--figure"),
        (f"  {fmt.size(source.size_bytes)} · {fmt.bits(source.bits_per_weight, ' bits')}", ""),
        (f"  ← {index + 1} of {count} →" if count > 1 else "", "rows--accent"),
        ("   quantized already" if is_quantized(source.quant) else "", "rows--warning"),
    )
    return [first, styled((f"      {cut_path(source.path or '', max(10, width - 7))}", "rows--dim"))]


def choice_notes(kind: QuantType, choices: Choices, problems: Sequence[str]) -> list[tuple[str, str]]:
    """Notes on a choice, each with its severity: `error`, `warning`, `good` or `dim`; the worst first.

    `problems` are the reasons why nothing can be made at all.
    """
    plan = choices.plans.get(kind.name)
    notes = [(problem, "error") for problem in problems]
    if plan is None:
        return notes or [("Working out the sizes…", "dim")]
    if plan.size is None:
        return [(f"{kind.name} cannot be made from this source: {plan.problem}.", "error"), *notes]
    if plan.needs_imatrix:
        return [*notes, (f"{kind.name} needs an importance matrix: without one it would be garbage.", "error")]
    room = f"{kind.name} takes {fmt.size(plan.size.file_bytes)}, {plan.size.bits_per_weight:.2f} bits per weight"
    free = choices.free_bytes
    if free is None:
        notes.append((f"{room}.", "good"))
    elif choices.lacks_room(plan):
        notes.append((f"{room}, and only {fmt.size(free)} are free there.", "error"))
    else:
        notes.append((f"{room}; {fmt.size(free)} are free there.", "good"))
    if kind.name in choices.present:
        notes.append((f"There is a {kind.name} of this model already.", "dim"))
    return [*notes, *((warning, "warning") for warning in plan.warnings)]
