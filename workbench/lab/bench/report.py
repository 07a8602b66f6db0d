"""Results as llama-bench's fields, and as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from workbench.core.bench import BenchMachine, BenchResult, part_speeds
from workbench.core.statistics import deviation
from workbench.core.sweep import SweepLevel
from workbench.core.units import UNKNOWN, figure_text
from workbench.lab.bench.latency import LatencyResult
from workbench.lab.bench.pairs import DuelRecord

_FLASH_NUMBERS = {"auto": -1, "off": 0, "on": 1}

DIFFERENT_MACHINES = "The two ran on different machines or builds."
UNPAIRED = "Two runs at different times: the change includes whatever changed on the machine in between."
"""Warnings about two runs beside each other."""

_SETTING_COLUMNS = {
    "ngl": "n_gpu_layers", "n_batch": "n_batch", "n_ubatch": "n_ubatch", "type_k": "type_k", "type_v": "type_v",
    "fa": "flash_attn", "ncmoe": "n_cpu_moe", "ot": "tensor_buft_overrides", "sm": "split_mode", "ts": "tensor_split",
    "mg": "main_gpu", "dev": "devices", "build": "engine_host", "nkvo": "no_kv_offload", "lm": "load_mode",
}  # fmt: skip

MUCH_CACHED = 50.0
"""The share of cached prompt tokens, in per cent, from which the figures have another meaning."""
SHORT = 0.9
"""Answers shorter than this share of the requested length are another workload."""
BUSY_CLIENT = 70.0
"""The share of a core, in per cent, from which the client may be the bottleneck."""


def as_fields(result: BenchResult, machine: BenchMachine) -> dict[str, object]:
    """A result with llama-bench's names, in its order; the program's own fields come last."""
    case, model = result.case, result.model
    settings, test, machine = case.settings, case.test, model.build or machine
    return {
        "build_commit": machine.build_commit,
        "build_number": 0,
        "cpu_info": machine.cpu_info,
        "gpu_info": machine.gpu_info,
        "backends": machine.backends,
        "model_filename": model.path,
        "model_type": model.description,
        "model_size": model.weights_bytes,
        "model_n_params": model.parameters,
        "n_batch": settings.n_batch,
        "n_ubatch": settings.n_ubatch,
        "n_threads": settings.n_threads or model.n_threads,
        "cpu_mask": "0x0",
        "cpu_strict": False,
        "poll": 50,
        "type_k": settings.type_k,
        "type_v": settings.type_v,
        "n_gpu_layers": settings.n_gpu_layers,
        "n_cpu_moe": settings.n_cpu_moe,
        "split_mode": settings.split_mode,
        "main_gpu": settings.main_gpu,
        "no_kv_offload": bool(settings.no_kv_offload),
        "flash_attn": _FLASH_NUMBERS[settings.flash_attn],
        "devices": settings.devices,
        "tensor_split": "/".join(f"{float(share):.2f}" for share in settings.tensor_split.split("/") if share)
        or "0.00",
        "tensor_buft_overrides": settings.tensor_buft_overrides or "none",
        "load_mode": settings.load_mode,
        "lazy_mode": "auto",
        "embeddings": False,
        "no_op_offload": int(bool(machine.gpu_info) and not model.gpu_layers),
        "no_host": False,
        "repack": True,
        "fit_target": 0,
        "fit_min_ctx": 0,
        "n_prompt": test.n_prompt,
        "n_gen": test.n_gen,
        "n_depth": test.n_depth,
        "test_time": result.test_time,
        "avg_ns": round(fmean(result.samples_ns)),
        "stddev_ns": round(deviation(result.samples_ns)),
        "avg_ts": result.avg_ts,
        "stddev_ts": result.stddev_ts,
        "samples_ns": list(result.samples_ns),
        "samples_ts": list(result.samples_ts),
        "model": model.name,
        "quant": model.quant,
        "backend": model.backend,
        "engine_host": settings.engine_host,
        "gpu_layers": model.gpu_layers,
        "warm_up_runs": result.warm_up_runs,
        "stable": result.stable,
        "disturbed": result.disturbed,
        "disturbances": [list(sample.disturbed) for sample in result.samples],
        "roof_pct": result.roof_pct,
        "joules_per_token": result.joules_per_token,
    }


def parallel_fields(result: BenchResult) -> dict[str, object]:
    """A result of several sequences with llama-batched-bench's names."""
    case, model, test = result.case, result.model, result.case.test
    prompt_tps, gen_tps = part_speeds(result.samples, test)
    count = len(result.samples)
    prompt_s = sum(sample.time.prompt_ns for sample in result.samples) / count / 1e9
    gen_s = sum(sample.time.gen_ns for sample in result.samples) / count / 1e9
    return {
        "model": model.name,
        "quant": model.quant,
        "n_batch": case.settings.n_batch,
        "n_ubatch": case.settings.n_ubatch,
        "flash_attn": _FLASH_NUMBERS[case.settings.flash_attn],
        "n_gpu_layers": case.settings.n_gpu_layers,
        "n_threads": case.settings.n_threads or model.n_threads,
        "pp": test.n_prompt,
        "tg": test.n_gen,
        "pl": test.sequences,
        "n_kv": test.context,
        "t_pp": prompt_s,
        "speed_pp": prompt_tps,
        "t_tg": gen_s,
        "speed_tg": gen_tps,
        "t": prompt_s + gen_s,
        "speed": test.tokens / (prompt_s + gen_s),
        "tps_per_sequence": None if gen_tps is None else gen_tps / test.sequences,
        "repetitions": count,
        "disturbed": result.disturbed,
    }


def latency_fields(result: LatencyResult, label: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The latency for prompts of one length, and what the answers were sampled with."""
    ttft, total = result.times("ttft_ms"), result.times("total_ms")
    return {
        "model": label,
        "n_prompt": result.n_prompt,
        "n_gen": result.n_gen,
        "again": result.again,
        "answers": len(result.answers),
        "prompt_tokens": result.count("prompt_tokens"),
        "cached_tokens": result.count("cached_tokens"),
        "completion_tokens": result.count("completion_tokens"),
        "ttft_p50_ms": ttft[0],
        "ttft_p95_ms": ttft[1],
        "total_p50_ms": total[0],
        "total_p95_ms": total[1],
        "settings": settings,
    }


def sweep_fields(level: SweepLevel) -> dict[str, object]:
    """One level of a sweep."""
    return {
        "concurrency": level.concurrency,
        "requests": len(level.samples),
        "failures": level.failures,
        "ttft_p50_ms": level.ttft_p50_ms,
        "ttft_p95_ms": level.ttft_p95_ms,
        "tps_per_user": level.tps_per_user,
        "tps_total": level.tps_total,
        "prompt_tokens": level.middle("prompt_tokens"),
        "cached_pct": level.cached_pct,
        "completion_tokens": level.middle("completion_tokens"),
        "estimated": level.estimated,
        "duration_ms": level.duration_ns / 1e6,
        "errors": level.errors,
        "client_cpu_pct": level.cost.cpu_pct if level.cost else None,
        "client_lag_p95_ms": level.cost.lag_ns / 1e6 if level.cost else None,
    }


def comparison_fields(duel: DuelRecord) -> dict[str, object]:
    """A comparison; the ratio is that of B's speed to A's."""
    found = duel.comparison
    return {
        "ratio": found.ratio,
        "interval": None if found.low is None else [found.low, found.high],
        "pairs": found.pairs,
        "disturbed": duel.disturbed,
        "verdict": found.sentence(*duel.names),
        "ahead": found.ahead,
        "test": duel.a.test.label,
        "a": duel.names[0],
        "b": duel.names[1],
        "design": duel.design,
    }


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    table = [list(headings), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    widths = [max(3, *(len(row[column]) for row in table)) for column in range(len(headings))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(table[0]), line(rule), *map(line, table[1:])])


def result_table(results: Sequence[BenchResult]) -> str:
    """Ordinary tests as llama-bench's table; settings stand in it where they are not the same for all."""
    columns = {
        heading: name
        for heading, name in _SETTING_COLUMNS.items()
        if len({getattr(result.case.settings, name) for result in results}) > 1
    }
    extra = {
        "of memory bandwidth": [figure_text(result.roof_pct, ".0f", " %") for result in results],
        "J/token": [figure_text(result.joules_per_token, ".2f") for result in results],
    }
    extra = {heading: cells for heading, cells in extra.items() if set(cells) != {UNKNOWN}}
    headings = ["model", "size", "params", "backend", "threads", *columns, "test", "t/s", *extra]
    rows = []
    for place, result in enumerate(results):
        model = result.model
        rows.append(
            [
                model.label,
                f"{model.weights_bytes / 2**20:.2f} MiB",
                f"{model.parameters / 1e6:.2f} M",
                model.backend,
                str(result.case.settings.n_threads or model.n_threads),
                *(str(getattr(result.case.settings, name)) for name in columns.values()),
                result.case.test.label,
                f"{result.avg_ts:.2f} ± {result.stddev_ts:.2f}" + (" *" if result.disturbed else ""),
                *(cells[place] for cells in extra.values()),
            ]
        )
    return markdown(headings, rows)


def parallel_table(results: Sequence[BenchResult]) -> str:
    """Tests of several sequences."""
    rows = []
    for result in results:
        test = result.case.test
        prompt, gen = part_speeds(result.samples, test)
        prefill, decode, each = (figure_text(speed, ".2f") for speed in (prompt, gen, gen and gen / test.sequences))
        lengths = (str(test.n_prompt), str(test.n_gen), str(test.sequences))
        rows.append([result.model.label, *lengths, prefill, decode + " *" * bool(result.disturbed), each])
    return markdown(["model", "PP", "TG", "sequences", "PP t/s", "TG t/s", "TG t/s each"], rows)


def latency_table(results: Sequence[LatencyResult], label: str) -> str:
    """The latency of one model."""
    rows = []
    for result in results:
        times = (*result.times("ttft_ms"), *result.times("total_ms"))
        counts = map(result.count, ("prompt_tokens", "cached_tokens", "completion_tokens"))
        figures = [*(figure_text(value, ".0f") for value in counts), *(figure_text(value, ".1f") for value in times)]
        rows.append([label + ", again" * result.again, *figures, str(len(result.answers))])
    headings = ["model", "prompt", "cached", "written", "TTFT p50 ms", "p95", "end p50 ms", "p95", "n"]
    return markdown(headings, rows)


def sweep_table(levels: Sequence[SweepLevel]) -> str:
    """The levels of a sweep."""
    headings = ["users", "requests", "failed", "TTFT p50 ms", "p95", "t/s each", "t/s in all", "cached", "client CPU"]
    rows = [
        [
            str(level.concurrency),
            str(len(level.samples)),
            str(level.failures),
            figure_text(level.ttft_p50_ms, ".1f"),
            figure_text(level.ttft_p95_ms, ".1f"),
            figure_text(level.tps_per_user, ".2f") + " ~" * level.estimated,
            figure_text(level.tps_total, ".2f"),
            figure_text(level.cached_pct, ".0f", " %"),
            figure_text(level.cost.cpu_pct if level.cost else None, ".0f", " %"),
        ]
        for level in levels
    ]
    return markdown(headings, rows)


def sweep_notes(levels: Sequence[SweepLevel], wanted: int) -> list[str]:
    """Warnings about the figures of a sweep, in sentences; `wanted` is the requested length of answers, in tokens."""
    found = [
        f"{level.concurrency} users: {count} of {len(level.samples)} failed: {error}"
        for level in levels
        for error, count in level.errors.items()
    ]
    if any(level.estimated for level in levels):
        found.append("~ the server does not count tokens: pieces of text were counted instead")
    if any((level.cached_pct or 0.0) >= MUCH_CACHED for level in levels):
        found.append("part of the prompts came from the server's cache, which makes the first tokens come sooner")
    lengths = [length for level in levels if (length := level.middle("completion_tokens")) is not None]
    if lengths and min(lengths) < SHORT * wanted:
        found.append(f"answers ended early: a median of {min(lengths):.0f} tokens, of the {wanted} requested")
    if any(level.cost is not None and level.cost.cpu_pct > BUSY_CLIENT for level in levels):
        found.append("the client itself was busy: the figures of those levels may be its own, not the server's")
    return found


def notes(results: Sequence[BenchResult]) -> list[str]:
    """Warnings about the figures, in sentences."""
    found = []
    for result in results:
        reasons = dict.fromkeys(reason for sample in result.samples for reason in sample.disturbed)
        what = f"{result.model.label} {result.case.test.label}"
        if reasons:
            found.append(f"* {what}: {result.disturbed} of {len(result.samples)} disturbed: {'; '.join(reasons)}")
        if result.stable is False:
            found.append(f"{what}: still not stable after {result.warm_up_runs} warm-up runs")
    return found


def build_lines(machine: BenchMachine, results: Sequence[BenchResult]) -> list[str]:
    """The build and its versions on one line, and each other one that results are from."""
    others = {each.case.settings.engine_host: build for each in results if (build := each.model.build) is not None}
    named = [f"{build_line(build, f' {name}')}, {build.backends}" for name, build in others.items()]
    here = not results or any(each.model.build is None for each in results)
    return [build_line(machine)] * here + named


def build_line(machine: BenchMachine, name: str = "") -> str:
    """The build and its versions, on one line."""
    return (
        f"build{name}: {machine.build_commit} ({', '.join(f'{name} {version}' for name, version in machine.versions)})"
    )
