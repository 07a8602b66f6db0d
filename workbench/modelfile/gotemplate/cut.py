"""Truncate a template after a field."""

from __future__ import annotations

from dataclasses import replace

from workbench.modelfile.gotemplate import tree


def cut_after(nodes: tree.Nodes, name: str) -> tree.Nodes:
    """`nodes` up to and including the first action with the field `name`, at any depth.

    Ollama searches neither conditions nor fields of variables and parentheses. Later operands of that action go too,
    unless they are the field again, and the whole action if a command after a pipe loses all its operands.
    """
    return _Cut(name).nodes(nodes)


class _Cut:
    def __init__(self, name: str) -> None:
        self._name = name
        self._done = False

    def nodes(self, nodes: tree.Nodes) -> tree.Nodes:
        kept: list[tree.Node] = []
        for node in nodes:
            if self._done:
                break
            shorter = self._node(node)
            if shorter is not None:
                kept.append(shorter)
        return tuple(kept)

    def _node(self, node: tree.Node) -> tree.Node | None:
        match node:
            case tree.Action():
                pipeline = self._pipeline(node.pipeline)
                return replace(node, pipeline=pipeline) if pipeline is not None else None
            case tree.Conditional():
                # A condition stays even when its body is gone, so that no later branch is taken in its place.
                branches = tuple([(pipeline, self.nodes(body)) for pipeline, body in node.branches])
                return replace(node, branches=branches, otherwise=self.nodes(node.otherwise))
            case tree.Range():
                return replace(node, body=self.nodes(node.body), otherwise=self.nodes(node.otherwise))
            case _:
                return node

    def _pipeline(self, pipeline: tree.Pipeline) -> tree.Pipeline | None:
        commands: list[tree.PipelineCommand] = []
        for command in pipeline.commands:
            operands = [kept for operand in command.operands if (kept := self._operand(operand)) is not None]
            if not operands:
                return None
            commands.append(replace(command, operands=tuple(operands)))
        return replace(pipeline, commands=tuple(commands))

    def _operand(self, operand: tree.Operand) -> tree.Operand | None:
        if isinstance(operand, tree.FieldPath) and self._name in operand.names:
            self._done = True
            return operand
        if self._done:
            return None
        return self._pipeline(operand) if isinstance(operand, tree.Pipeline) else operand
