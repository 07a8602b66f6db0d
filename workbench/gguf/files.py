"""Reading model files from the disk: all parts of a split file, single arrays, a report, and what fits."""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path

from workbench.core.errors import ModelFileError, TemplateError
from workbench.gguf.check import check_loadable
from workbench.gguf.fit import FitModel
from workbench.gguf.header import Array, Header
from workbench.gguf.inspect import ARRAYS, ModelReport, inspect
from workbench.gguf.lora import check_adapter
from workbench.gguf.names import parse_shard
from workbench.gguf.oddities import Oddity
from workbench.gguf.reader import read_header
from workbench.gguf.tokenizer import TokenizerFacts


def read_headers(path: Path, arrays: Container[str] = frozenset()) -> tuple[Header, ...]:
    """The header of a file; for the first part of a split file also those of the other parts that exist."""
    first = read_header(path, arrays=arrays)
    shard = parse_shard(path.name)
    if shard is None or shard.number != 1:
        return (first,)
    parts = [path.with_name(name) for name in shard.names[1:]]
    return (first, *(read_header(part) for part in parts if part.is_file()))


def read_array(path: Path, key: str) -> Array:
    """An array of the metadata with all of its elements; raises a ModelFileError where there is none."""
    value = read_header(path, arrays=frozenset({key})).metadata.get(key)
    if not isinstance(value, Array):
        raise ModelFileError(f"{path}: there is no array {key!r} in it any more.", "The file has changed: look again.")
    return value


def read_report(path: Path, render: Callable[[str, TokenizerFacts], str]) -> ModelReport:
    """Inspect a model file; `render` renders `SAMPLE` with a chat template, and may raise a TemplateError."""
    inspection = inspect(read_headers(path, ARRAYS))
    found: list[Oddity] = []
    try:
        check_loadable(path)
    except ModelFileError as error:
        reason = error.message.removeprefix(f"{path}: ")
        found.append(Oddity("unloadable", f"It cannot be opened: {reason}", error.hint))
    sample, template = None, inspection.facts.chat_template
    try:
        sample = None if template is None else render(template, inspection.tokenizer)
    except TemplateError as error:
        found.append(Oddity("template", error.message, error.hint))
    return ModelReport(inspection, sample, (*found, *inspection.warnings))


def read_fit_model(path: Path, adapter: Path | None, repacked: frozenset[str]) -> FitModel:
    """A model, and the LoRA in `adapter`, for computing what fits in memory; `repacked` is as for `FitModel`."""
    headers = check_loadable(path)
    return FitModel(headers, repacked, None if adapter is None else check_adapter(adapter, headers))
