"""`workbench inspect`: a model file laid open."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from workbench.cli.composition import compose
from workbench.cli.files import find_file
from workbench.cli.options import add_json
from workbench.cli.output import print_json, print_table, size_text
from workbench.engine.files import report
from workbench.gguf.header import TensorInfo
from workbench.gguf.inspect import Difference, FoldedArray, FoldedValue, ModelReport, compare
from workbench.ui.kit.sanitize import clean, clean_line

_LONGEST_VALUE = 100
_BAR = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "What a model file says of itself; of two files also how they differ. Nothing is loaded."
    parser.add_argument("file", metavar="FILE", help="a .gguf file, or another name of a model")
    parser.add_argument("other", metavar="FILE2", nargs="?", help="a file to compare it with")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print what is in the file."""
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
    # Bytes of a vocabulary that are no UTF-8 stand as lone surrogates, which JSON cannot carry to other programs.
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
        text = "—" if value is None else str(value)
    line = clean_line(text)
    return line if len(line) <= _LONGEST_VALUE else f"{line[: _LONGEST_VALUE - 1]}…"


def _print(view: ModelReport) -> None:
    found, facts = view.inspection, view.inspection.facts
    _section("model")
    bits = f"{facts.bits_per_weight:.2f} bits per weight" if facts.bits_per_weight else "—"
    rows = [
        ("file", found.paths[0] + (f" and {len(found.paths) - 1} more parts" if len(found.paths) > 1 else "")),
        ("name", facts.name or "—"),
        ("architecture", facts.architecture or "—"),
        ("quantization", f"{facts.quant or '—'}, {bits}"),
        ("size", f"{size_text(found.file_bytes)}, {facts.parameters / 1e6:.1f} million weights"),
        ("context", str(facts.context_length or "—")),
    ]
    _print_pairs(rows)
    if view.warnings:
        _section("warnings")
        for warning in view.warnings:
            print(f"  {warning.kind}: {clean_line(warning.message)}")
    _section("types")
    for share in found.types:
        bar = "█" * max(1, round(share.fraction * _BAR))
        size, count = size_text(share.bytes), f"{share.tensors} tensor{'s' * (share.tensors != 1)}"
        print(f"  {share.type:<8} {bar:<{_BAR}} {share.fraction:6.1%}  {size:>9}  {count}")
    _section("tokenizer")
    tokenizer = found.tokenizer
    rows = [
        ("kind", f"{tokenizer.model or '—'}, {tokenizer.rule or '—'}"),
        ("tokens", str(tokenizer.vocab_size or "—")),
    ]
    rows += [(token.role, f"{token.id} {token.text or ''}") for token in tokenizer.special]
    rows.append(
        ("adds", ", ".join(n for n, on in (("bos", tokenizer.adds_bos), ("eos", tokenizer.adds_eos)) if on) or "—")
    )
    _print_pairs(rows)
    _section("metadata")
    _print_pairs([(key, _shown(value)) for key, value in found.metadata.items()])
    _section("tensors")
    print_table(
        ("name", "type", "shape", "size"),
        [
            (clean_line(t.name), t.type.name, " × ".join(map(str, t.shape)), size_text(t.size_bytes))
            for t in found.tensors
        ],
    )
    if facts.chat_template is not None:
        _section("chat template")
        print(clean(facts.chat_template))
    if view.sample is not None:
        _section("a conversation in it")
        print(clean(view.sample))


def _print_difference(views: Sequence[ModelReport], difference: Difference) -> None:
    for view in views:
        facts = view.inspection.facts
        bits = f"{facts.bits_per_weight:.2f} bits" if facts.bits_per_weight else "—"
        print(f"{view.inspection.paths[0]}: {facts.quant or '—'}, {bits}, {size_text(view.inspection.file_bytes)}")
    _section("types")
    print_table(
        ("first", "second", "tensors", "first size", "second size"),
        [
            (c.first or "—", c.second or "—", str(c.tensors), size_text(c.first_bytes), size_text(c.second_bytes))
            for c in difference.types
        ],
    )
    print(f"{difference.same_tensors} tensors are of one type and shape in both.")
    if difference.metadata:
        _section("metadata")
        rows = [(clean_line(key), _shown(one), _shown(other)) for key, (one, other) in difference.metadata.items()]
        print_table(("key", "first", "second"), rows)
    if difference.tensors:
        _section("tensors")
        rows = [(clean_line(c.name), _form(c.first), _form(c.second)) for c in difference.tensors]
        print_table(("name", "first", "second"), rows)


def _form(tensor: TensorInfo | None) -> str:
    return f"{tensor.type.name} {' × '.join(map(str, tensor.shape))}" if tensor else "—"


def _section(title: str) -> None:
    print(f"\n{title}")


def _print_pairs(rows: Iterable[tuple[str, str]]) -> None:
    pairs = [(clean_line(key), clean_line(value)) for key, value in rows]
    width = max((len(key) for key, _ in pairs), default=0)
    for key, value in pairs:
        print(f"  {key:<{width}}  {value}".rstrip())
