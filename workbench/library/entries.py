"""Library entries from found model files and their facts."""

from __future__ import annotations

import logging

from workbench.core.models import ModelEntry
from workbench.gguf.names import parse_name
from workbench.library.file_facts import FileFacts
from workbench.library.folders import Found, ModelFile, reason
from workbench.library.groups import group_of, is_generic
from workbench.library.labels import find_mismatch, tensor_quant

log = logging.getLogger(__name__)


def make_entry(found: Found, facts: FileFacts | None) -> ModelEntry:
    """The entry of a model that a source has found, with the facts of its file; None where it has no file."""
    try:
        return _entry(found, facts or FileFacts())
    except Exception as error:
        log.exception("%s cannot be described", found.place.path)
        return ModelEntry(
            ref=found.place.ref,
            name=printable(found.name or (found.file.path.name if found.file.paths else found.place.ref)),
            path=str(found.file.path) if found.file.paths else None,
            source=found.place.source,
            problem=printable(reason(error)),
            places=(found.place,),
        )


def _entry(found: Found, facts: FileFacts) -> ModelEntry:
    file = found.file
    problem = found.problem or (_incomplete(file) if file.missing else "") or facts.problem
    parts = parse_name(file.path.name if file.paths else found.name)
    identity = facts.identity
    base = parts.base
    if is_generic(base):
        base = identity.name or parse_name(found.name).base or base
    # A file called `model.gguf` without a name in its metadata is named after its folder.
    alias = parse_name(found.name).base or (file.path.parent.name if file.paths else "")
    named, own = parts.quant or found.quant, facts.label or facts.main_type
    # A name with a bare `q4` says less than the file.
    quant = own if own and named and len(named) == len("Q4") else named or own
    return ModelEntry(
        ref=found.place.ref,
        name=printable(found.name or base),
        quant=quant,
        path=str(file.path) if file.paths else None,
        size_bytes=file.size_bytes or None,
        parameters=(None if file.missing else facts.parameters) or found.parameters,
        architecture=printable(identity.architecture) or None,
        bits_per_weight=facts.bits_per_weight,
        context_length=facts.context_length,
        source=found.place.source,
        problem=printable(problem),
        tensor_quant=tensor_quant(facts.mix),
        label_mismatch=find_mismatch(named or own, facts.mix, facts.label),
        group=printable(group_of(parts.base, identity, alias)),
        digest=found.digest,
        places=(found.place,),
    )


def _incomplete(file: ModelFile) -> str:
    total = len(file.paths) + len(file.missing)
    named = ", ".join(file.missing[:3]) + (", …" if len(file.missing) > 3 else "")
    return f"incomplete: {len(file.missing)} of {total} parts are missing ({named}). Download them to the same folder."


def printable(text: str) -> str:
    """`text` without characters that a terminal would interpret."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
