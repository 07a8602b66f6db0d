"""The pages of the chat template, with a conversation rendered by it, and of the tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from textual.content import Content, Span

from workbench.gguf.inspect import Inspection, ModelReport
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import beside, heading, padded, pairs, paragraph, styled
from workbench.ui.markdown.code import highlight
from workbench.ui.model_files.pages import TextPage

BESIDE = 110
"""Width from which a chat template and its rendering are side by side."""
LONGEST_TEMPLATE = 200_000
"""Characters of a chat template that are shown: a file may hold megabytes."""
LONGEST_LINE = 8_000
"""Characters up to which a line is coloured."""
_MISSING = "not in the vocabulary"
_TOKEN_TYPES = {1: "text", 2: "unknown", 3: "control", 4: "user-defined", 5: "unused", 6: "byte"}
_ROLES = {
    "bos": "begins a text (BOS)",
    "eos": "ends a text (EOS)",
    "eot": "ends a turn (EOT)",
    "eom": "ends a message (EOM)",
    "unknown": "unknown",
    "separator": "separator",
    "padding": "padding",
    "mask": "mask",
    "fim_prefix": "before a gap (FIM)",
    "fim_suffix": "after a gap (FIM)",
    "fim_middle": "fills a gap (FIM)",
}
_SPECIAL = re.compile(r"<[|｜][^|｜\n]{1,40}[|｜]>|\[/?[A-Z_]{2,20}\]|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos)>")


def template_page(report: ModelReport) -> TextPage:
    """The chat template, and a conversation rendered by it: side by side, or one above the other."""
    source = report.inspection.facts.chat_template or ""
    others = report.inspection.tokenizer.templates
    code = highlight(clean(source[:LONGEST_TEMPLATE]), "jinja") if source else []
    # Folding a line takes time that grows with the square of the number of its colours.
    code = [line if len(line) <= LONGEST_LINE else Content(line.plain) for line in code]

    def lay_out(width: int) -> list[Content]:
        if not code:
            text = "This file has no chat template. A chat uses ChatML; a base model is better used raw."
            if others:
                text += f" Its other templates are not used: {clean_line(', '.join(others))}."
            return paragraph(text, width, 0, "rows--dim")
        if width < BESIDE:
            return [*_sample(report, width), Content(""), *template_lines(width)]
        left = (width - 3) * 11 // 20
        return beside(template_lines(left), _sample(report, width - 3 - left), left)

    def template_lines(width: int) -> list[Content]:
        lines = [heading("CHAT TEMPLATE"), *_folded(code, width)]
        if len(source) > LONGEST_TEMPLATE:
            lines.append(styled((f"… truncated after {LONGEST_TEMPLATE:,} characters", "rows--warning")))
        return lines

    return TextPage("Template", lay_out, "" if source or others else "none", source)


def _sample(report: ModelReport, width: int) -> list[Content]:
    lines = [heading("A CONVERSATION RENDERED BY IT")]
    if report.sample is None:
        for problem in report.warnings:
            if problem.kind == "template":
                lines += paragraph(clean_line(problem.message[:600]), width, 0, "rows--error")
                lines += paragraph(clean_line(problem.hint), width, 0, "rows--dim")
        return lines
    text = clean(report.sample[:LONGEST_TEMPLATE])
    tokens = [token.text for token in report.inspection.tokenizer.special if token.text]
    return [*lines, *_folded(Content(text, _special_spans(text, tokens)).split("\n", allow_blank=True), width)]


def _folded(lines: Iterable[Content], width: int) -> list[Content]:
    return [row for line in lines for row in (line.fold(width) if line.cell_length > width else [line])]


def _special_spans(text: str, tokens: Sequence[str]) -> list[Span]:
    """The spans of the control tokens."""
    spans = [Span(*match.span(), "rows--special") for match in _SPECIAL.finditer(text)]
    for token in {clean(token) for token in tokens if len(token) > 2}:
        spans += [Span(*match.span(), "rows--special") for match in re.finditer(re.escape(token), text)]
    return spans


def tokenizer_lines(found: Inspection, width: int) -> list[Content]:
    """The tokenizer and its special tokens."""
    facts = found.tokenizer
    if facts.model is None:
        return paragraph("This file has no tokenizer.", width, 0, "rows--warning")
    source = " (default of llama.cpp; the file does not say)" if facts.adds_by_default else ""
    rows = [
        ("kind", clean_line(facts.model)),
        ("splitting rule", clean_line(facts.rule or fmt.DASH)),
        ("vocabulary", fmt.count(facts.vocab_size)),
        ("merges", fmt.count(facts.merges)),
        ("adds BOS", f"{'yes' if facts.adds_bos else 'no'}{source}"),
        ("adds EOS", "yes" if facts.adds_eos else "no"),
        ("templates", clean_line(", ".join(facts.templates)) or "none"),
    ]
    lines = [heading("TOKENIZER"), *pairs(rows, width), Content(""), heading("SPECIAL TOKENS")]
    for token in facts.special:
        text, style = (token.text, "rows--special") if token.text is not None else (_MISSING, "rows--warning")
        lines.append(
            styled(
                (f"  {_ROLES.get(token.role, token.role):<22}", "rows--dim"),
                (f"{token.id:>8}  ", "doc--number"),
                (padded(text, max(12, min(32, width - 62))), style),
                (f"  {_TOKEN_TYPES.get(token.type or 0, ''):<12}", ""),
                ("by default" if token.by_default else "", "rows--dim"),
            )
        )
    if not facts.special:
        lines.append(styled(("  none", "rows--dim")))
    note = "For all tokens, open tokenizer.ggml.tokens on the metadata page."
    return [*lines, Content(""), *paragraph(note, width, 2, "rows--dim")]
