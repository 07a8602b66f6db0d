"""`workbench quantize`: make a smaller variant of a model."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from workbench.cli.composition import Workers, compose, find_file
from workbench.cli.options import add_json
from workbench.cli.output import note, print_json, print_table, say
from workbench.cli.progress import ProgressLine, stoppable
from workbench.core.errors import QuantizeError
from workbench.core.models import ModelEntry
from workbench.core.units import UNKNOWN, size_text
from workbench.core.user_path import user_path
from workbench.engine.llama.quantize.quantizer import plan_quantizations
from workbench.gguf.quantization import QuantizeJob, QuantizePlan, QuantizeProgress, QuantizeResult
from workbench.gguf.targets import QUANT_TYPES, QuantType, find_quant_type, target_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Quantize a model with llama.cpp, in a separate process. Ctrl+C cancels it and removes the unfinished file. "
        f"Types: {', '.join(QUANT_TYPES)}; `all` with --dry-run."
    )
    parser.add_argument("source", metavar="SRC", help="a .gguf file in F32, BF16 or F16, or the name of a model")
    parser.add_argument("type", metavar="TYPE", help="such as Q4_K_M")
    parser.add_argument("-o", "--output", metavar="OUT", help="a file or folder; by default the folder of the source")
    parser.add_argument("--imatrix", metavar="FILE", help="an importance matrix made by llama-imatrix")
    parser.add_argument("--allow-requantize", action="store_true", help="accept a source that is already quantized")
    parser.add_argument("--dry-run", action="store_true", help="show the resulting size without writing a file")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="0: one per physical core")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Quantize, or show what would be made."""
    everything = options.type.casefold() == "all" and options.dry_run
    kinds = list(QUANT_TYPES.values()) if everything else [find_quant_type(options.type)]
    workers = compose()
    entry, source = find_file(workers, options.source)
    imatrix = user_path(options.imatrix) if options.imatrix else None
    if options.dry_run:
        plans = asyncio.run(stoppable(lambda cancel: plan_quantizations(source, kinds, imatrix, cancel)))
        _show_plans(options, plans, [_target(options, workers, entry, source, kind) for kind in kinds])
        return 0
    job = QuantizeJob(
        source=source,
        target=_target(options, workers, entry, source, kinds[0]),
        kind=kinds[0],
        imatrix=imatrix,
        allow_requantize=options.allow_requantize,
        threads=max(0, options.threads),
    )
    work = partial(workers.files.quantize, job, partial(_show_progress, ProgressLine()))
    result = asyncio.run(stoppable(work))
    _show_result(options, result)
    return 0


def _target(options: argparse.Namespace, workers: Workers, entry: ModelEntry, source: Path, kind: QuantType) -> Path:
    """The file to write: the one that was named, else one in the default folder for the source."""
    if options.output:
        chosen = user_path(options.output).absolute()
        return chosen / target_name(source.name, kind, entry.name) if chosen.is_dir() else chosen
    return workers.files.target(source, entry.name, kind)


def _show_progress(line: ProgressLine, progress: QuantizeProgress) -> None:
    text = f"{progress.fraction:4.0%}  tensor {progress.done} of {progress.total}"
    finished = progress.fraction >= 1.0
    line.say(f"{text}  {progress.tensor}" if sys.stderr.isatty() else text, last=finished)
    if finished:
        line.clear()


def _show_plans(options: argparse.Namespace, plans: Sequence[QuantizePlan], targets: Sequence[Path]) -> None:
    if len(plans) == 1 and plans[0].size is None:
        raise QuantizeError(f"{plans[0].kind.name} cannot be made from it: {plans[0].problem}.", "Choose another type.")
    found = [_plan_as_json(plan, target) for plan, target in zip(plans, targets, strict=True)]
    if options.json:
        print_json(found[0] if len(found) == 1 else found)
        return
    rows = []
    for plan, target in zip(plans, targets, strict=True):
        size, bits, file = UNKNOWN, UNKNOWN, plan.problem
        if plan.size is not None:
            size, bits = size_text(plan.size.file_bytes), f"{plan.size.bits_per_weight:.2f}"
            file = "needs an importance matrix" if plan.needs_imatrix else target.name
        rows.append((plan.kind.name, size, bits, file))
    print_table(("type", "size", "bits", "file"), rows)
    if len(plans) == 1:
        for warning in plans[0].warnings:
            note(f"workbench: {warning}")


def _plan_as_json(plan: QuantizePlan, target: Path) -> dict[str, object]:
    return {
        "path": str(target),
        "type": plan.kind.name,
        "size_bytes": plan.size.file_bytes if plan.size else None,
        "bits_per_weight": plan.size.bits_per_weight if plan.size else None,
        "seconds": None,
        "dry_run": True,
        "fallback_tensors": plan.fallbacks,
        "requantized_tensors": plan.size.requantized if plan.size else None,
        "needs_imatrix": plan.needs_imatrix,
        "problem": plan.problem or None,
        "warnings": plan.warnings,
    }


def _show_result(options: argparse.Namespace, result: QuantizeResult) -> None:
    for warning in result.warnings:
        note(f"workbench: {warning}")
    if options.json:
        names = ("size_bytes", "bits_per_weight", "seconds", "warnings")
        figures = {name: getattr(result, name) for name in names}
        print_json({"path": str(result.path), "type": result.kind.name, **figures})
        return
    note(f"{size_text(result.size_bytes)}, {result.bits_per_weight:.2f} bits per weight, {result.seconds:.1f} s")
    say(str(result.path))
