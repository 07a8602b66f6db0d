"""The figures of the service in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.serve.service import Service


def metrics_text(service: Service) -> str:
    """All figures, each with its type and meaning."""
    return "\n".join(_lines(service)) + "\n"


def _lines(service: Service) -> Iterator[str]:
    totals = service.totals
    label = service.name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")

    def rows(name: str, kind: str, about: str, *values: tuple[str, float]) -> Iterator[str]:
        yield f"# HELP workbench_{name} {about}"
        yield f"# TYPE workbench_{name} {kind}"
        for labels, value in values:
            more = f",{labels}" if labels else ""
            yield f'workbench_{name}{{model="{label}"{more}}} {value:g}'

    ended = [(f'end="{end}"', count) for end, count in sorted(totals.requests.items())]
    yield from rows("requests_running", "gauge", "Requests that are computed or wait.", ("", len(service.running)))
    yield from rows("requests_total", "counter", "Requests by how they ended.", *ended)
    yield from rows("prompt_tokens_total", "counter", "Tokens of prompts.", ("", totals.prompt_tokens))
    yield from rows("cached_tokens_total", "counter", "Of these, tokens that were cached.", ("", totals.cached_tokens))
    yield from rows("completion_tokens_total", "counter", "Tokens written.", ("", totals.completion_tokens))
    seconds = (("", totals.ttft_seconds),)
    yield from rows("time_to_first_token_seconds_sum", "counter", "Times to the first token, added up.", *seconds)
    yield from rows("time_to_first_token_seconds_count", "counter", "How many they are.", ("", totals.first_tokens))
