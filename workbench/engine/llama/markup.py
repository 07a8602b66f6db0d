"""The markup of a model's thoughts, found by rendering its chat template with thoughts and looking around them."""

from __future__ import annotations

import re
from contextlib import suppress

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.errors import TemplateError
from workbench.engine.families import FAMILIES, Family, family_of, tag_family
from workbench.engine.llama.template import PromptTemplate

_THOUGHT, _ANSWER = "Ponderings of old.", "Utterance at last."
_PROBE = (Message("user", "Question one?"), Message("assistant", _ANSWER, _THOUGHT))
_TAG = r"<[^<>\s]{1,40}>|\[[A-Za-z_/]{1,40}\]"
_AROUND = re.compile(rf"({_TAG})\s*{re.escape(_THOUGHT)}\s*({_TAG})")

_MOST_KEPT = 32

_found: dict[str, Family | None] = {}
"""The families of the last templates by their sources: each is looked for once."""


def markup_of(template: PromptTemplate, cancel: CancelToken) -> Family | None:
    """The family of a template's model; None where neither the template nor a rendering shows one. It may take seconds.

    A known family is recognised by its markers in the source.

    Raises:
        CancelledError: `cancel` was set.
    """
    with suppress(KeyError):
        return _found[template.source]
    family = _look_for(template, cancel)
    if len(_found) >= _MOST_KEPT:
        _found.clear()
    _found[template.source] = family
    return family


def _look_for(template: PromptTemplate, cancel: CancelToken) -> Family | None:
    if known := family_of(template.source):
        return known
    if not re.search("reasoning|thinking|thought", template.source, re.IGNORECASE):
        return None
    try:
        found = _AROUND.search(template.render(_PROBE, cancel))
    except TemplateError:
        return None
    if found is None:
        return None
    return next((each for each in FAMILIES if each.opening == found[1]), None) or tag_family(found[1], found[2])
