"""The markup of a model's thoughts, found by rendering its chat template with thoughts and looking around them."""

from __future__ import annotations

import re
from contextlib import suppress

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.errors import TemplateError
from workbench.engine.families import FAMILIES, WRAPPERS, Family, family_of, tag_family, wrapped_family
from workbench.engine.llama.template import PromptTemplate

_THOUGHT, _ANSWER = "Ponderings of old.", "Utterance at last."
_PROBE = (Message("user", "Question one?"), Message("assistant", _ANSWER, _THOUGHT))
_TAG = r"<[^<>\s]{1,40}>|\[[A-Za-z_/]{1,40}\]"
_UNNAMED = {"<answer>": "<|extra_4|>"}
"""What shows that a model writes a wrapper that its template does not name: Hunyuan A13B has this end of turns."""
_AROUND = re.compile(rf"({_TAG})\s*{re.escape(_THOUGHT)}\s*({_TAG})")

_MOST_KEPT = 32

_found: dict[str, Family | None] = {}
"""The families of the last templates by their sources: each is looked for once."""


def markup_of(template: PromptTemplate, cancel: CancelToken) -> Family | None:
    """The family of a template's model; None where neither the template nor a rendering shows one. It may take seconds.

    A known family is recognised by its markers in the source, and what it writes around its answers by a rendering.

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
    source = template.source
    family = family_of(source)
    wrappers = [wrapper for wrapper in WRAPPERS if wrapper in source or _UNNAMED.get(wrapper, wrapper) in source]
    if not (wrappers if family else re.search("reasoning|thinking|thought", source, re.IGNORECASE)):
        return family
    try:
        rendered = template.render(_PROBE, cancel)
    except TemplateError:
        return family
    family = family or _family_in(rendered)
    before = rendered.partition(_ANSWER)[0].rstrip()
    wrapper = next((each for each in wrappers if before.endswith(each) or _asks_for(source, each)), "")
    return wrapped_family(family, wrapper) if family and wrapper else family


def _asks_for(source: str, wrapper: str) -> bool:
    """Whether the model writes `wrapper`: its template asks for it, or removes it from earlier answers."""
    return (
        wrapper + WRAPPERS[wrapper] in source
        or re.search(rf"split\(['\"]{re.escape(wrapper)}", source) is not None
        or _UNNAMED.get(wrapper, "\0") in source
    )


def _family_in(rendered: str) -> Family | None:
    """The family whose markers are around the thoughts of the probe."""
    known = next((family for family in FAMILIES if family.opening.lstrip() + _THOUGHT in rendered), None)
    return known or (tag_family(found[1], found[2]) if (found := _AROUND.search(rendered)) else None)
