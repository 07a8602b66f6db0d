"""TEMPLATE of a Modelfile: Go's text/template with Ollama's functions and data.

A template is foreign code. It reaches nothing but the values that it is given, and what it may take is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.modelfile.template_eval import Settings, evaluate
from workbench.modelfile.template_functions import FUNCTIONS
from workbench.modelfile.template_parser import parse_tree
from workbench.modelfile.template_tree import Tree
from workbench.modelfile.template_values import Value


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    source: str
    tree: Tree

    def render(self, data: Value, settings: Settings | None = None) -> str:
        """The text that this template makes of `data`.

        Raises:
            GoTemplateError: Go would fail, or a limit is reached.
        """
        return evaluate(self.source, self.tree, data, settings)


def parse(text: str) -> Template:
    """The template that `text` is.

    Raises:
        GoTemplateError: Go would refuse it; the error names line and column.
    """
    return Template(text, parse_tree(text, FUNCTIONS))
