"""What `workbench doctor` found, as JSON and as text."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workbench.cli.output import print_table, size_text
from workbench.core.servers import ServerInfo
from workbench.core.telemetry import THROTTLE_WORDS, Alarm, GpuSample
from workbench.engine.llama.probe import LlamaBuild
from workbench.lab.bench.memory_speed import Bandwidth
from workbench.telemetry.doctor.findings import Facts
from workbench.telemetry.doctor.gpus import match_devices
from workbench.telemetry.wire import sample_to_dict
from workbench.ui.kit.sanitize import clean_line

DASH = "—"
MOST_MODELS = 3
_SOURCES = {"nvml": "NVIDIA (NVML)", "amdgpu": "AMD (sysfs)", "apple": "Apple"}
_WIDEST = 110


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers that were looked for."""

    answering: tuple[ServerInfo, ...] = ()
    silent: tuple[tuple[str, str], ...] = ()
    """As in the report."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the doctor found."""

    facts: Facts
    findings: tuple[Alarm, ...]
    build: LlamaBuild | None
    driver: Mapping[str, str]
    """The versions of NVIDIA's driver and of the CUDA that it supports."""
    swap_total_bytes: int | None
    bandwidth: Bandwidth | None
    versions: Mapping[str, str | None]
    servers: tuple[ServerInfo, ...]
    """Those that answer."""
    silent_servers: tuple[tuple[str, str], ...]
    """Those that the user has named and that do not answer: the address, and why."""
    variables: Mapping[str, str]
    """Those that matter, with nothing secret in them."""
    seconds: float


def report_as_json(report: Report) -> dict[str, Any]:
    """The report as plain values. What is not known is null."""
    facts, build = report.facts, report.build
    devices = facts.devices or ()
    matched = match_devices(devices, [sample.gpu for sample in facts.gpus])
    names: dict[str, list[str]] = {}
    for name, gpu in matched.items():
        names.setdefault(gpu.key, []).append(name)
    return {
        "machine": asdict(facts.machine) | {"cpu_quota": facts.cpu_quota},
        "memory": {
            "total_bytes": facts.total_bytes,
            "free_bytes": facts.free_bytes,
            "limit_bytes": facts.limit_bytes,
            "swap_total_bytes": report.swap_total_bytes,
            "swap_used_bytes": facts.swap_used_bytes,
            "bandwidth": None if report.bandwidth is None else asdict(report.bandwidth),
        },
        "llama_cpp": None if build is None else asdict(build) | {"features": build.features, "archs": build.archs},
        "engine_problem": facts.engine_problem or None,
        "backends": list(build.backends) if build else [],
        "devices": [
            asdict(device) | {"gpu": matched[device.name].key if device.name in matched else None} for device in devices
        ],
        "gpus": [sample_to_dict(sample) | {"devices": names.get(sample.gpu.key, [])} for sample in facts.gpus],
        "sources": [asdict(state) for state in facts.sources],
        "driver": dict(report.driver) or None,
        "versions": dict(report.versions),
        "folders": [asdict(folder) | {"path": str(folder.path)} for folder in facts.folders],
        "servers": [asdict(server) for server in report.servers],
        "silent_servers": [{"url": url, "problem": problem} for url, problem in report.silent_servers],
        "environment": dict(report.variables),
        "findings": [asdict(alarm) for alarm in report.findings],
        "seconds": round(report.seconds, 3),
    }


def print_report(report: Report) -> None:
    """Print the report for people; what to do comes last, where it is seen."""
    _print_machine(report)
    _print_engine(report)
    _print_gpus(report)
    _section("folders")
    rows = []
    for folder in report.facts.folders:
        made = "" if folder.exists else "  (not made yet)"
        rows.append((folder.name, clean_line(str(folder.path)) + made, size_text(folder.free_bytes)))
    print_table(("name", "path", "free"), rows)
    _section("servers")
    if report.servers:
        answers = [
            (server.kind, server.url, server.version or DASH, _models(server.models)) for server in report.servers
        ]
        print_table(("kind", "address", "version", "models"), [tuple(map(clean_line, row)) for row in answers])
    elif not report.silent_servers:
        print("none answers on the usual ports of this machine")
    for url, problem in report.silent_servers:
        print(_wrapped(clean_line(f"{url}: {problem}")))
    _section("versions")
    print(_wrapped(", ".join(f"{name} {version or DASH}" for name, version in report.versions.items())))
    if report.variables:
        _section("environment")
        for name, value in report.variables.items():
            print(f"{clean_line(name)}={clean_line(value)}")
    _print_findings(report.findings)


def _print_machine(report: Report) -> None:
    facts, machine = report.facts, report.facts.machine
    kind = ", in a container" if machine.container else ""
    kind += ", under Windows (WSL)" if machine.wsl else ""
    _section("machine")
    cores = f"{_count(machine.cores)} physical, {_count(machine.logical_cores)} logical"
    if machine.allowed_cores is not None and machine.allowed_cores != machine.logical_cores:
        cores += f", {machine.allowed_cores} allowed"
    memory = f"{size_text(facts.free_bytes)} free of {size_text(facts.total_bytes)}"
    if report.swap_total_bytes:
        memory += f"; swap {size_text(facts.swap_used_bytes)} of {size_text(report.swap_total_bytes)}"
    rows = [
        ("system", f"{machine.system} {machine.release} {machine.architecture}{kind}"),
        ("processor", machine.processor or DASH),
        ("cores", cores),
        ("can do", DASH if machine.features is None else " ".join(machine.features)),
        ("memory", memory),
        ("its speed", _bandwidth(report.bandwidth)),
    ]
    _print_pairs(rows)


def _bandwidth(measured: Bandwidth | None) -> str:
    if measured is None:
        return f"{DASH}  (not measured)"
    threads = f"{measured.threads} thread{'s' if measured.threads > 1 else ''}"
    return f"{measured.bytes_per_second / 1e9:.1f} GB/s, {measured.method} of {measured.passes}, {threads}"


def _print_engine(report: Report) -> None:
    build, facts = report.build, report.facts
    _section("llama.cpp")
    if build is None:
        print("It could not be asked.")
        return
    on = " ".join(name for name, used in build.features.items() if used)
    _print_pairs(
        [
            ("version", f"llama-cpp-python {build.binding}, ggml {build.ggml or DASH}, commit {build.commit or DASH}"),
            ("backends", ", ".join(build.backends) or DASH),
            ("built with", on or DASH),
        ]
    )
    matched = match_devices(facts.devices or (), [sample.gpu for sample in facts.gpus])
    rows = [
        (
            device.name,
            device.kind,
            device.description,
            device.pci_id or DASH,
            size_text(device.free_bytes),
            size_text(device.total_bytes),
            _gpu_label(matched[device.name].name) if device.name in matched else DASH,
        )
        for device in facts.devices or ()
    ]
    print()
    print_table(
        ("device", "kind", "description", "address", "free", "total", "the driver's"),
        [tuple(map(clean_line, row)) for row in rows],
    )


def _gpu_label(name: str | None) -> str:
    return name or "yes"


def _print_gpus(report: Report) -> None:
    facts = report.facts
    _section("GPUs, as their drivers see them")
    if report.driver:
        print(", ".join(f"{name} {clean_line(version)}" for name, version in report.driver.items()))
    if facts.gpus:
        matched = match_devices(facts.devices or (), [sample.gpu for sample in facts.gpus])
        used = {gpu.key: name for name, gpu in matched.items()}
        rows = [_gpu_row(sample, used.get(sample.gpu.key)) for sample in facts.gpus]
        headings = ("name", "address", "capability", "used", "total", "busy", "°C", "power", "clock", "held back", "as")
        print_table(headings, [tuple(map(clean_line, row)) for row in rows])
    else:
        print("none")
    for state in facts.sources:
        if state.status == "down":
            print(f"{_SOURCES[state.source]}: {clean_line(state.reason)}")


def _gpu_row(sample: GpuSample, device: str | None) -> tuple[str, ...]:
    gpu = sample.gpu
    limit = f"/{sample.power_limit_w:.0f}" if sample.power_limit_w is not None else ""
    reasons = sample.throttle
    return (
        (gpu.name or DASH) + (" (shares the system's memory)" if gpu.unified else ""),
        gpu.pci_id or DASH,
        "{}.{}".format(*gpu.capability) if gpu.capability else DASH,
        size_text(sample.memory_used),
        size_text(sample.memory_total),
        DASH if sample.gpu_percent is None else f"{sample.gpu_percent:.0f} %",
        DASH if sample.temperature_c is None else f"{sample.temperature_c:.0f}",
        DASH if sample.power_w is None else f"{sample.power_w:.0f}{limit} W",
        DASH if sample.clock_mhz is None else f"{sample.clock_mhz} MHz",
        DASH if reasons is None else ", ".join(THROTTLE_WORDS[reason] for reason in reasons) or "no",
        device or DASH,
    )


def _print_findings(findings: Sequence[Alarm]) -> None:
    _section("findings")
    if not findings:
        print("Nothing is wrong.")
    for alarm in findings:
        print(_wrapped(clean_line(f"{alarm.severity}: {alarm.text}")))
        if alarm.hint:
            # Not wrapped: what is to be typed has to survive being copied.
            print(f"  {clean_line(alarm.hint)}")


def _models(models: Sequence[str] | None) -> str:
    if models is None:
        return DASH
    more = f" and {len(models) - MOST_MODELS} more" if len(models) > MOST_MODELS else ""
    return (", ".join(models[:MOST_MODELS]) + more) or "none"


def _count(number: int | None) -> str:
    return DASH if number is None else str(number)


def _section(title: str) -> None:
    print(f"\n{title}" if title != "machine" else title)


def _print_pairs(rows: Iterable[tuple[str, str]]) -> None:
    pairs = list(rows)
    width = max(len(key) for key, _ in pairs) + 2
    for key, value in pairs:
        print(_wrapped(f"{key:<{width}}{clean_line(value)}", indent=" " * width))


def _wrapped(text: str, indent: str = "  ") -> str:
    width = min(_WIDEST, shutil.get_terminal_size().columns)
    return textwrap.fill(text, max(40, width), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
