"""What accompanies the weights of a model: an adapter, a template, parameters and opening messages."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench.core.chat import Message
from workbench.core.parameters import LoadSettings, Sampling, Value, with_values

GIVEN = "given"
"""The finish reason of a message that comes from a Modelfile."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The directives of a Modelfile except the weights; empty where it has none."""

    adapter: str = ""
    """The file of a LoRA adapter."""
    template: str = ""
    """A chat template in Go's syntax, which replaces that of the model."""
    renderer: str = ""
    """Ollama's built-in renderer, which takes the place of `template`. This program has none of them."""
    parser: str = ""
    """Ollama's built-in parser of answers. This program has none of them; a model with one keeps its `template`."""
    system: str = ""
    parameters: tuple[tuple[str, Value], ...] = ()
    """The name and value of each parameter, valid for `with_values`."""
    messages: tuple[Message, ...] = ()
    """The messages that begin every conversation."""
    notes: tuple[str, ...] = ()
    """Directives ignored or approximated; one sentence each."""
    kept: frozenset[str] = frozenset()
    """The parameters, and `system`, that the user keeps for the model: they come from no Modelfile."""

    def settings(self, sampling: Sampling, load: LoadSettings) -> tuple[Sampling, LoadSettings]:
        """Both settings with these parameters applied."""
        return with_values(sampling, load, dict(self.parameters))

    def onto(self, base: Recipe) -> Recipe:
        """This recipe, with the values of `base` where this one is empty.

        Parameters are merged one by one; messages come from one of the two. A renderer of either rules out a template.
        """
        renderer = self.renderer or base.renderer
        return replace(
            self,
            adapter=self.adapter or base.adapter,
            template="" if renderer else self.template or base.template,
            renderer=renderer,
            parser=self.parser or base.parser,
            system=self.system or base.system,
            parameters=tuple({**dict(base.parameters), **dict(self.parameters)}.items()),
            messages=self.messages or base.messages,
            notes=(*base.notes, *self.notes),
            kept=self.kept | (base.kept - dict(self.parameters).keys() - ({"system"} if self.system else set())),
        )
