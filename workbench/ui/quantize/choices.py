"""What a user chooses from when a quantization is to be made: the sources, and the types with their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from textual.content import Content

from workbench.core.models import ModelEntry
from workbench.gguf.quantization import QuantizePlan, is_quantized, source_rank
from workbench.gguf.targets import QuantType
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, cut_path, styled

SPARE_BYTES = 16 * 2**20
"""What has to stay free on the disk beside the file."""
_USUAL = ("Q4_K_M", "Q8_0", "Q6_K", "Q5_K_M", "Q4_0", "F16")
"""What most users want next, in this order."""
_TYPE, _BITS, _SIZE, _SHARE, _MATRIX = 11, 7, 10, 7, 10
_MATRIX_WORDS = {"": "", "better": "helps", "needed": "needed"}


@dataclass(slots=True)
class Choices:
    """What is known of the types that can be made."""

    at_hand: frozenset[str]
    """Quantizations of the model that are there already."""
    source_bytes: int | None = None
    free_bytes: int | None = None
    """What is free where it would be written."""
    has_imatrix: bool = False
    """Whether an importance matrix is given."""
    plans: dict[str, QuantizePlan] = field(default_factory=dict)
    """What each would come to, as far as that is worked out, by the name of the type."""

    def lacks_room(self, plan: QuantizePlan) -> bool:
        """Whether the disk has no room for it."""
        return (
            plan.size is not None
            and self.free_bytes is not None
            and (plan.size.file_bytes + SPARE_BYTES > self.free_bytes)
        )


def sources_of(entry: ModelEntry, variants: Sequence[ModelEntry]) -> list[ModelEntry]:
    """What a quantization can be made of, the best first: F32, BF16 and F16, then what lost something already."""
    usable = [model for model in (*variants, entry) if model.path is not None and not model.problem]
    unique = {model.path: model for model in reversed(usable)}.values()
    return sorted(unique, key=lambda model: (source_rank(model.quant), -(model.size_bytes or 0), model.ref))


def first_choice(kinds: Sequence[QuantType], at_hand: frozenset[str]) -> int:
    """The type to begin with: a usual one that is not there yet."""
    names = [kind.name for kind in kinds]
    return names.index(next((name for name in _USUAL if name not in at_hand), _USUAL[0]))


def type_header(width: int) -> Content:
    """The titles of the columns."""
    titles = f"  {'type':<{_TYPE}}{'bits':>{_BITS}}{'size':>{_SIZE}}{'share':>{_SHARE}}  {'imatrix':<{_MATRIX}}"
    return styled((cut(f"{titles}what it is for", width), "rows--header"))


def type_row(kind: QuantType, choices: Choices, width: int) -> Content:
    """A type: its bits and size as far as they are known, and what it is for."""
    plan = choices.plans.get(kind.name)
    size = plan.size if plan else None
    impossible = plan is not None and size is None
    lacking = plan is not None and choices.lacks_room(plan)
    blocked = impossible or lacking or (plan is not None and plan.needs_imatrix)
    bits, amount, share = f"≈{kind.default.bits_per_weight:.1f}", "…", ""
    if size is not None:
        bits, amount = f"{size.bits_per_weight:.2f}", fmt.size(size.file_bytes)
        share = fmt.share(size.file_bytes, choices.source_bytes) if choices.source_bytes else ""
    elif impossible:
        bits = amount = fmt.DASH
    matrix = "given" if kind.imatrix and choices.has_imatrix else _MATRIX_WORDS[kind.imatrix]
    about = f"cannot be made: {plan.problem}" if plan is not None and impossible else kind.about
    room = max(8, width - 4 - _TYPE - _BITS - _SIZE - _SHARE - _MATRIX)
    plain = "rows--dim" if blocked else ""
    return styled(
        ("✓ ", "rows--good") if kind.name in choices.at_hand else ("  ", ""),
        (f"{kind.name:<{_TYPE}}", "rows--dim" if blocked else "rows--strong"),
        (f"{bits:>{_BITS}}", "rows--dim" if size is None else plain),
        (
            f"{amount:>{_SIZE}}",
            "rows--error" if lacking else "rows--dim" if blocked or size is None else "rows--figure",
        ),
        (f"{share:>{_SHARE}}", "rows--dim"),
        (f"  {matrix:<{_MATRIX}}", "rows--warning" if plan is not None and plan.needs_imatrix else "rows--dim"),
        (cut(about, room), plain),
    )


def source_lines(source: ModelEntry, index: int, count: int, width: int) -> list[Content]:
    """A source in two rows: what it is, and where it lies.

    Args:
        source: The file.
        index: Its place among all sources.
        count: How many there are.
        width: Columns.
    """
    bits = f"{source.bits_per_weight:.2f} bits" if source.bits_per_weight is not None else fmt.DASH
    first = styled(
        ("from  ", "source--label"),
        (clean_line(source.quant or fmt.DASH), "source--figure"),
        (f"  {fmt.size(source.size_bytes)} · {bits}", ""),
        (f"  ← {index + 1} of {count} →" if count > 1 else "", "source--key"),
        ("   quantized already" if is_quantized(source.quant) else "", "source--warning"),
    )
    return [first, styled((f"      {cut_path(source.path or '', max(10, width - 7))}", "source--label"))]


def verdicts(kind: QuantType, choices: Choices, problems: Sequence[str]) -> list[tuple[str, str]]:
    """What is to be said about a choice, and how bad it is: `error`, `warning`, `good` or `dim`; the worst first.

    Args:
        kind: The type.
        choices: What is known of it.
        problems: What stands against making anything.
    """
    plan = choices.plans.get(kind.name)
    said = [(problem, "error") for problem in problems]
    if plan is None:
        return said or [("Working out the sizes…", "dim")]
    if plan.size is None:
        return [(f"{kind.name} cannot be made of it: {plan.problem}.", "error"), *said]
    if plan.needs_imatrix:
        return [*said, (f"{kind.name} needs an importance matrix: without one it would be garbage.", "error")]
    room = f"{kind.name} takes {fmt.size(plan.size.file_bytes)}, {plan.size.bits_per_weight:.2f} bits per weight"
    free = choices.free_bytes
    if free is None:
        said.append((f"{room}.", "good"))
    elif choices.lacks_room(plan):
        said.append((f"{room}, and only {fmt.size(free)} are free there.", "error"))
    else:
        said.append((f"{room}; {fmt.size(free)} are free there.", "good"))
    if kind.name in choices.at_hand:
        said.append((f"There is a {kind.name} of this model already.", "dim"))
    return [*said, *((warning, "warning") for warning in plan.warnings)]
