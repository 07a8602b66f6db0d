"""Parts of the documents that results are exported to: CSV, JSON, and cells of Markdown tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence


def csv_text(heading: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Rows below a heading. No spreadsheet takes a cell for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_csv_cell, heading))
    writer.writerows(map(_csv_cell, row) for row in rows)
    return out.getvalue()


def csv_of(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the names of the first one, in its order; empty without rows."""
    names = list(rows[0]) if rows else []
    return csv_text(names, ([row.get(name, "") for name in names] for row in rows)) if rows else ""


def _csv_cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def json_text(value: object) -> str:
    """A JSON document to read, with a line break at its end."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def markdown_cell(text: str) -> str:
    """A text in one cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
