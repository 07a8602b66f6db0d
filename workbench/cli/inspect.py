"""`workbench inspect`: the contents of a model file, and how two files differ."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from workbench.cli.composition import compose, find_file
from workbench.cli.options import add_json
from workbench.cli.output import print_json, print_pairs, print_section, print_table, say
from workbench.core.units import UNKNOWN, size_text
from workbench.engine.files import report
from workbench.gguf.header import TensorInfo
from workbench.gguf.inspect import Difference, FoldedArray, FoldedValue, ModelReport, compare
from workbench.ui.kit.sanitize import clean_line

_LONGEST_VALUE = 100
_BAR = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "The metadata, tensors and chat template of a model file; with two files, their differences. Nothing is loaded."
    )
    parser.add_argument("file", metavar="FILE", help="a .gguf file, or the name of a model")
    parser.add_argument("other", metavar="FILE2", nargs="?", help="a file to compare it with")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the contents of the file."""
    workers = compose()
    reports = [report(find_file(workers, ref)[1]) for ref in (options.file, options.other) if ref is not None]
    first = reports[0]
    difference = compare(first.inspection, reports[1].inspection) if len(reports) > 1 else None
    if options.json:
        found = _as_json(first)
        if difference is not None:
            found |= {"other": _as_json(reports[1]), "difference": _difference_as_json(difference)}
        print_json(found)
    elif difference is not None:
        _print_difference(reports, difference)
    else:
        _print(first)
    return 0


def _as_json(report: ModelReport) -> dict[str, object]:
    found, facts = report.inspection, report.inspection.facts
    return {
        "path": found.paths[0],
        "parts": found.paths,
        "size_bytes": found.file_bytes,
        "gguf_version": found.version,
        "name": facts.name,
        "architecture": facts.architecture,
        "quant": facts.quant,
        "parameters": facts.parameters,
        "context_length": facts.context_length,
        "metadata": {key: _plain(value) for key, value in found.metadata.items()},
        "tensors": [_tensor(tensor) for tensor in found.tensors],
        "types": [asdict(share) for share in found.types],
        "bits_per_weight": facts.bits_per_weight,
        "warnings": [asdict(warning) for warning in report.warnings],
        "tokenizer": asdict(found.tokenizer),
        "chat_template": facts.chat_template,
        "sample": report.sample,
    }


def _plain(value: FoldedValue | None) -> object:
    if isinstance(value, FoldedArray):
        return {"type": value.element_type, "length": value.length, "first": [_utf8(item) for item in value.first]}
    return _utf8(value)


def _utf8(value: object) -> object:
    # Vocabulary bytes that are not UTF-8 are kept as lone surrogates, which JSON of other programs cannot hold.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _tensor(tensor: TensorInfo | None) -> dict[str, object] | None:
    if tensor is None:
        return None
    return {
        "name": tensor.name,
        "type": tensor.type.name,
        "shape": tensor.shape,
        "bytes": tensor.size_bytes,
        "offset": tensor.offset,
    }


def _difference_as_json(difference: Difference) -> dict[str, object]:
    return {
        "tensors": [
            {"name": change.name, "first": _tensor(change.first), "second": _tensor(change.second)}
            for change in difference.tensors
        ],
        "types": [asdict(change) for change in difference.types],
        "same_tensors": difference.same_tensors,
        "metadata": {key: [_plain(one), _plain(other)] for key, (one, other) in difference.metadata.items()},
    }


def _shown(value: FoldedValue | None) -> str:
    if isinstance(value, FoldedArray):
        items = [repr(item) if isinstance(item, str) else str(item) for item in value.first]
        more = ["…"] if value.length > len(items) else []
        text = f"{value.element_type}[{value.length}] {', '.join(items + more)}"
    else:
        text = UNKNOWN if value is None else str(value)
    line = clean_line(text)
    return line if len(line) <= _LONGEST_VALUE else f"{line[: _LONGEST_VALUE - 1]}…"


def _print(view: ModelReport) -> None:
    found, facts = view.inspection, view.inspection.facts
    print_section("model")
    bits = f"{facts.bits_per_weight:.2f} bits per weight" if facts.bits_per_weight else UNKNOWN
    rows = [
        ("file", found.paths[0] + (f" and {len(found.paths) - 1} more parts" if len(found.paths) > 1 else "")),
        ("name", facts.name or UNKNOWN),
        ("architecture", facts.architecture or UNKNOWN),
        ("quantization", f"{facts.quant or UNKNOWN}, {bits}"),
        ("size", f"{size_text(found.file_bytes)}, {facts.parameters / 1e6:.1f} million weights"),
        ("context", str(facts.context_length or UNKNOWN)),
    ]
    print_pairs(rows)
    if view.warnings:
        print_section("warnings")
        for warning in view.warnings:
            say(f"  {warning.kind}: {clean_line(warning.message)}")
    print_section("types")
    for share in found.types:
        bar = "█" * max(1, round(share.fraction * _BAR))
        size, count = size_text(share.bytes), f"{share.tensors} tensor{'s' * (share.tensors != 1)}"
        say(f"  {share.type:<8} {bar:<{_BAR}} {share.fraction:6.1%}  {size:>9}  {count}")
    print_section("tokenizer")
    tokenizer = found.tokenizer
    rows = [
        ("kind", f"{tokenizer.model or UNKNOWN}, {tokenizer.rule or UNKNOWN}"),
        ("tokens", str(tokenizer.vocab_size or UNKNOWN)),
    ]
    rows += [(token.role, f"{token.id} {token.text or ''}") for token in tokenizer.special]
    adds = [name for name, on in (("bos", tokenizer.adds_bos), ("eos", tokenizer.adds_eos)) if on]
    print_pairs([*rows, ("adds", ", ".join(adds) or UNKNOWN)])
    print_section("metadata")
    print_pairs([(key, _shown(value)) for key, value in found.metadata.items()])
    print_section("tensors")
    print_table(
        ("name", "type", "shape", "size"),
        [(t.name, t.type.name, " × ".join(map(str, t.shape)), size_text(t.size_bytes)) for t in found.tensors],
    )
    if facts.chat_template is not None:
        print_section("chat template")
        say(facts.chat_template)
    if view.sample is not None:
        print_section("sample conversation")
        say(view.sample)


def _print_difference(views: Sequence[ModelReport], difference: Difference) -> None:
    for view in views:
        facts = view.inspection.facts
        bits = f"{facts.bits_per_weight:.2f} bits" if facts.bits_per_weight else UNKNOWN
        say(f"{view.inspection.paths[0]}: {facts.quant or UNKNOWN}, {bits}, {size_text(view.inspection.file_bytes)}")
    print_section("types")
    print_table(
        ("first", "second", "tensors", "first size", "second size"),
        [
            (c.first or UNKNOWN, c.second or UNKNOWN, str(c.tensors), *map(size_text, (c.first_bytes, c.second_bytes)))
            for c in difference.types
        ],
    )
    say(f"{difference.same_tensors} tensors have the same type and shape in both files.")
    if difference.metadata:
        print_section("metadata")
        rows = [(key, _shown(one), _shown(other)) for key, (one, other) in difference.metadata.items()]
        print_table(("key", "first", "second"), rows)
    if difference.tensors:
        print_section("tensors")
        rows = [(c.name, _form(c.first), _form(c.second)) for c in difference.tensors]
        print_table(("name", "first", "second"), rows)


def _form(tensor: TensorInfo | None) -> str:
    return f"{tensor.type.name} {' × '.join(map(str, tensor.shape))}" if tensor else UNKNOWN
