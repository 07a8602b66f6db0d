"""The report of `workbench doctor`, as JSON and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workbench.cli.output import print_pairs, print_section, print_table, say, wrapped
from workbench.core.servers import ServerInfo
from workbench.core.telemetry import THROTTLE_WORDS, Alarm, GpuInfo, GpuSample
from workbench.core.units import UNKNOWN, size_pair, size_text
from workbench.engine.llama.probe import LlamaBuild
from workbench.lab.bench.memory_speed import Bandwidth
from workbench.telemetry.doctor.findings import Facts
from workbench.telemetry.doctor.gpus import match_devices
from workbench.telemetry.source import sample_to_dict
from workbench.ui.kit.sanitize import clean_line

MOST_MODELS = 3
_SOURCES = {"nvml": "NVIDIA (NVML)", "amdgpu": "AMD (sysfs)", "apple": "Apple"}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the doctor collected."""

    facts: Facts
    findings: tuple[Alarm, ...]
    build: LlamaBuild | None
    driver: Mapping[str, str]
    """The versions of NVIDIA's driver and of the CUDA that it supports."""
    swap_total_bytes: int | None
    bandwidth: Bandwidth | None
    versions: Mapping[str, str | None]
    servers: tuple[ServerInfo, ...]
    """The servers that answer."""
    silent_servers: tuple[tuple[str, str], ...]
    """Configured servers that do not answer: the address and the reason."""
    variables: Mapping[str, str]
    """Environment variables that affect how models run, with secrets masked."""
    seconds: float


def report_as_json(report: Report) -> dict[str, Any]:
    """The report as plain values; unknown figures are None."""
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
    """Print the report for people; the findings come last, where they are seen."""
    facts = report.facts
    matched = match_devices(facts.devices or (), [sample.gpu for sample in facts.gpus])
    _print_machine(report)
    _print_engine(report, matched)
    _print_gpus(report, matched)
    print_section("folders")
    rows = []
    for folder in facts.folders:
        made = "" if folder.exists else "  (not created yet)"
        rows.append((folder.name, str(folder.path) + made, size_text(folder.free_bytes)))
    print_table(("name", "path", "free"), rows)
    print_section("servers")
    if report.servers:
        answers = [
            (server.kind, server.url, server.version or UNKNOWN, _models(server.models)) for server in report.servers
        ]
        print_table(("kind", "address", "version", "models"), answers)
    elif not report.silent_servers:
        say("no server answers on the usual ports of this machine")
    for url, problem in report.silent_servers:
        say(wrapped(clean_line(f"{url}: {problem}")))
    print_section("versions")
    say(wrapped(", ".join(f"{name} {version or UNKNOWN}" for name, version in report.versions.items())))
    if report.variables:
        print_section("environment")
        for name, value in report.variables.items():
            say(f"{clean_line(name)}={clean_line(value)}")
    _print_findings(report.findings)


def _print_machine(report: Report) -> None:
    facts, machine = report.facts, report.facts.machine
    kind = ", in a container" if machine.container else ""
    kind += ", under Windows (WSL)" if machine.wsl else ""
    say("machine")
    cores = f"{machine.cores or UNKNOWN} physical, {machine.logical_cores or UNKNOWN} logical"
    if machine.allowed_cores is not None and machine.allowed_cores != machine.logical_cores:
        cores += f", {machine.allowed_cores} allowed"
    memory = size_pair(facts.free_bytes, facts.total_bytes, " free of ")
    if report.swap_total_bytes:
        memory += f"; swap {size_pair(facts.swap_used_bytes, report.swap_total_bytes)}"
    rows = [
        ("system", f"{machine.system} {machine.release} {machine.architecture}{kind}"),
        ("processor", machine.processor or UNKNOWN),
        ("cores", cores),
        ("features", UNKNOWN if machine.features is None else " ".join(machine.features)),
        ("memory", memory),
        ("bandwidth", _bandwidth(report.bandwidth)),
    ]
    print_pairs(rows, wrap=True)


def _bandwidth(measured: Bandwidth | None) -> str:
    if measured is None:
        return f"{UNKNOWN}  (not measured)"
    threads = f"{measured.threads} thread{'s' if measured.threads > 1 else ''}"
    return f"{measured.bytes_per_second / 1e9:.1f} GB/s, {measured.method} of {measured.passes}, {threads}"


def _print_engine(report: Report, matched: Mapping[str, GpuInfo]) -> None:
    build, facts = report.build, report.facts
    print_section("llama.cpp")
    if build is None:
        say("It could not be loaded.")
        return
    on = " ".join(name for name, used in build.features.items() if used)
    version = f"llama-cpp-python {build.binding}, ggml {build.ggml or UNKNOWN}, commit {build.commit or UNKNOWN}"
    backends = ", ".join(build.backends) or UNKNOWN
    made = [("CMAKE_ARGS", build.cmake_args)] if build.cmake_args else []
    print_pairs([("version", version), ("backends", backends), ("built with", on or UNKNOWN), *made], wrap=True)
    rows = [
        (
            device.name,
            device.kind,
            device.description,
            device.pci_id or UNKNOWN,
            size_text(device.free_bytes),
            size_text(device.total_bytes),
            (matched[device.name].name or "yes") if device.name in matched else UNKNOWN,
        )
        for device in facts.devices or ()
    ]
    say()
    print_table(("device", "kind", "description", "address", "free", "total", "GPU"), rows)


def _print_gpus(report: Report, matched: Mapping[str, GpuInfo]) -> None:
    facts = report.facts
    print_section("GPUs reported by drivers")
    if report.driver:
        say(", ".join(f"{name} {clean_line(version)}" for name, version in report.driver.items()))
    if facts.gpus:
        used = {gpu.key: name for name, gpu in matched.items()}
        rows = [_gpu_row(sample, used.get(sample.gpu.key)) for sample in facts.gpus]
        headings = "name address capability used total busy °C power clock throttled device"
        print_table(headings.split(), rows)
    else:
        say("none")
    for state in facts.sources:
        if state.status == "down":
            say(f"{_SOURCES[state.source]}: {clean_line(state.reason)}")


def _gpu_row(sample: GpuSample, device: str | None) -> tuple[str, ...]:
    gpu = sample.gpu
    limit = f"/{sample.power_limit_w:.0f}" if sample.power_limit_w is not None else ""
    reasons = sample.throttle
    return (
        (gpu.name or UNKNOWN) + (" (shares the system's memory)" if gpu.unified else ""),
        gpu.pci_id or UNKNOWN,
        "{}.{}".format(*gpu.capability) if gpu.capability else UNKNOWN,
        size_text(sample.memory_used),
        size_text(sample.memory_total),
        UNKNOWN if sample.gpu_percent is None else f"{sample.gpu_percent:.0f} %",
        UNKNOWN if sample.temperature_c is None else f"{sample.temperature_c:.0f}",
        UNKNOWN if sample.power_w is None else f"{sample.power_w:.0f}{limit} W",
        UNKNOWN if sample.clock_mhz is None else f"{sample.clock_mhz} MHz",
        UNKNOWN if reasons is None else ", ".join(THROTTLE_WORDS[reason] for reason in reasons) or "no",
        device or UNKNOWN,
    )


def _print_findings(findings: Sequence[Alarm]) -> None:
    print_section("findings")
    if not findings:
        say("No problems found.")
    for alarm in findings:
        say(wrapped(clean_line(f"{alarm.severity}: {alarm.text}")))
        if alarm.hint:
            # Not wrapped: a command to type must survive copying.
            say(f"  {clean_line(alarm.hint)}")


def _models(models: Sequence[str] | None) -> str:
    if models is None:
        return UNKNOWN
    more = f" and {len(models) - MOST_MODELS} more" if len(models) > MOST_MODELS else ""
    return (", ".join(models[:MOST_MODELS]) + more) or "none"
