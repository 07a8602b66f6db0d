"""What goes with the weights of a model: an adapter, a template, and how its conversations begin."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench.core.chat import Message
from workbench.core.parameters import LoadSettings, Sampling, Value, with_values

GIVEN = "given"
"""Why a message ended that nobody wrote in this conversation: it stands in a Modelfile."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a Modelfile says of a model beside its weights. What is empty it does not say."""

    adapter: str = ""
    """The file of a LoRA that is put onto the weights."""
    template: str = ""
    """The chat template in Go's syntax, in the place of the one that the model brings."""
    system: str = ""
    parameters: tuple[tuple[str, Value], ...] = ()
    """Name and value of each parameter, all of them such as `with_values` takes."""
    messages: tuple[Message, ...] = ()
    """The turns that stand at the beginning of every conversation."""
    notes: tuple[str, ...] = ()
    """What of it is not honoured, or not to the letter; a sentence each."""

    def settings(self, sampling: Sampling, load: LoadSettings) -> tuple[Sampling, LoadSettings]:
        """Both settings with these parameters put in."""
        return with_values(sampling, load, dict(self.parameters))

    def onto(self, base: Recipe) -> Recipe:
        """This recipe where it says something, and `base` where it does not.

        Each parameter counts for itself; messages are taken whole from one of the two.
        """
        return replace(
            self,
            adapter=self.adapter or base.adapter,
            template=self.template or base.template,
            system=self.system or base.system,
            parameters=tuple({**dict(base.parameters), **dict(self.parameters)}.items()),
            messages=self.messages or base.messages,
            notes=(*base.notes, *self.notes),
        )
