"""What Go renders from data, for the tests of templates."""

from __future__ import annotations

from workbench.modelfile.gotemplate.evaluate import evaluate


def render(template, data, settings=None):
    return evaluate(template.source, template.tree, data, settings)
