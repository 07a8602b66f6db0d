"""A model file as an entry that a user can choose."""

from __future__ import annotations

import re

from workbench.core.models import ModelEntry
from workbench.gguf.names import parse_name
from workbench.library.folders import Found, ModelFile
from workbench.library.labels import find_mismatch, tensor_quant
from workbench.library.readings import Reading

GENERIC_NAMES = frozenset({"model", "ggml-model", "gguf", "unsloth", "consolidated"})
"""File names that many models have; the name inside the file says more."""

_BLOB = re.compile(r"(?:sha256[-:])?[0-9a-f]{40,64}(?:\.incomplete|-partial)?", re.IGNORECASE)
_WORDS = re.compile(r"[^\W_]+")
_SAYS_NOTHING = frozenset({"gguf", "imat", "imatrix", "i1", "hf"})
"""Words of file names that say how a file was made, and not of which model."""


def make_entry(found: Found, reading: Reading | None) -> ModelEntry:
    """The entry of a model that a source has found.

    Args:
        found: What the source says.
        reading: What its file says; None where it has none.
    """
    reading = reading or Reading()
    file = found.file
    problem = found.problem or (_incomplete(file) if file.missing else "") or reading.problem
    parts = parse_name(file.path.name) if file.paths else parse_name(found.name)
    base = parts.base
    if base.casefold() in GENERIC_NAMES or base.upper() == parts.quant or _is_blob(base):
        base = reading.name or parse_name(found.name).base or base
    name = found.name or base
    label = parts.quant or found.quant or reading.quant
    parameters = reading.parameters or found.parameters
    return ModelEntry(
        ref=found.place.ref,
        name=printable(name),
        quant=label,
        path=str(file.path) if file.paths else None,
        size_bytes=file.size_bytes or None,
        parameters=parameters,
        architecture=printable(reading.architecture) if reading.architecture else None,
        bits_per_weight=reading.bits_per_weight,
        context_length=reading.context_length,
        source=found.place.source,
        problem=printable(problem),
        tensor_quant=tensor_quant(reading.mix),
        label_mismatch=find_mismatch(label, reading.mix, reading.quant),
        group=group_of(base, reading.architecture, None if problem else parameters),
        digest=found.digest,
        places=(found.place,),
    )


def group_of(name: str, architecture: str | None, parameters: int | None) -> str:
    """What the quantizations of one base model have in common, and no two models should have.

    Quantizing changes neither the architecture nor the number of weights, to the last one, so that these keep apart
    what is called alike; the name keeps apart an instruction-tuned model and its base, which have the same size.

    Args:
        name: The name without the quantization.
        architecture: As the file has it.
        parameters: The number of weights; None for a file that is not whole.
    """
    words = [word for word in _WORDS.findall(name.casefold()) if word not in _SAYS_NOTHING]
    return f"{''.join(words)}/{architecture or ''}/{parameters or ''}"


def _is_blob(base: str) -> bool:
    """Whether a file is named after its content."""
    return _BLOB.fullmatch(base) is not None


def _incomplete(file: ModelFile) -> str:
    total = len(file.paths) + len(file.missing)
    named = ", ".join(file.missing[:3]) + (", …" if len(file.missing) > 3 else "")
    return f"incomplete: {len(file.missing)} of {total} parts are missing ({named}). Download them to the same folder."


def printable(text: str) -> str:
    """`text` without anything that a terminal would act upon."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
