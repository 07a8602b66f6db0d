from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.telemetry.stub import GIB
from workbench.telemetry.environment import HIDDEN, masked, variables_that_matter
from workbench.telemetry.host import cpu_quota, memory_limit
from workbench.telemetry.machine import PciCard, find_pci_cards, look_at_machine, processor_features, processor_name
from workbench.telemetry.memory_speed import measure_bandwidth

X86 = "model name\t: AMD EPYC 9654\nflags\t\t: fpu sse4_2 avx2 avx512f new\n\nprocessor\t: 1\nflags\t: \n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nModel\t\t: Raspberry Pi 5\n"


def test_the_processor():
    assert processor_name(X86) == "AMD EPYC 9654"
    assert processor_features(X86) == ("sse4_2", "avx2", "avx512f")
    assert processor_name(ARM) == "Raspberry Pi 5"
    assert processor_features(ARM) == ("asimd", "asimddp", "i8mm")
    assert processor_name("") is None
    assert processor_features("") is None


@given(st.text())
def test_no_description_of_a_processor_breaks_the_reading(text):
    processor_name(text)
    processor_features(text)


def test_this_machine():
    machine = look_at_machine()
    assert machine.system
    assert machine.logical_cores >= 1
    assert machine.processor


def test_a_container_under_windows(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / "proc").mkdir()
    assert not look_at_machine(tmp_path).wsl
    assert not look_at_machine(tmp_path).container
    (tmp_path / "proc/version").write_text("Linux version 5.15-Microsoft-standard-WSL2")
    (tmp_path / "proc/cpuinfo").write_text(X86)
    (tmp_path / ".dockerenv").touch()
    machine = look_at_machine(tmp_path)
    assert (machine.wsl, machine.container, machine.processor) == (True, True, "AMD EPYC 9654")


def test_the_cards_in_the_slots(tmp_path):
    def put(name, driver=None, **files):
        slot = tmp_path / "sys/bus/pci/devices" / name
        slot.mkdir(parents=True)
        for file, text in files.items():
            (slot / file).write_text(f"{text}\n")
        if driver:
            (tmp_path / driver).mkdir()
            (slot / "driver").symlink_to(tmp_path / driver)

    assert find_pci_cards(tmp_path) == []
    put("0000:01:00.0", "nouveau", **{"class": "0x030000", "vendor": "0x10de"})
    put("0000:02:00.0", **{"class": "0x030200", "vendor": "0x1002"})
    put("0000:01:00.1", **{"class": "0x040300", "vendor": "0x10de"})
    put("0000:03:00.0", **{"class": "junk", "vendor": "0x10de"})
    put("0000:04:00.0")
    put("other", **{"class": "0x030000", "vendor": "0x10de"})
    assert find_pci_cards(tmp_path) == [
        PciCard("0000:01:00.0", 0x10DE, "nouveau"), PciCard("0000:02:00.0", 0x1002, None)
    ]  # fmt: skip


# What a container allows


@pytest.mark.parametrize(("files", "limit"), [
    ({}, None), ({"memory.max": "max"}, None), ({"memory.max": "junk"}, None),
    ({"memory.max": "4294967296"}, (4 * GIB, None)),
    ({"memory.max": "4294967296", "memory.current": "1073741824"}, (4 * GIB, GIB)),
    ({"memory.max": "4294967296", "memory.current": "1073741824", "memory.stat": "anon 5\ninactive_file 1000\n"},
     (4 * GIB, GIB - 1000)),
    ({"memory.max": "4294967296", "memory.current": "9", "memory.stat": "inactive_file 1000"}, (4 * GIB, 0)),
    ({"memory.max": "4294967296", "memory.current": "9", "memory.stat": "inactive_file x\ninactive_files 3"},
     (4 * GIB, 9)),
    ({"memory.max": str(64 * GIB)}, None), ({"memory.max": str(32 * GIB)}, None),
    ({"memory/memory.limit_in_bytes": "4294967296"}, (4 * GIB, None)),
    ({"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
])  # fmt: skip
def test_the_memory_that_a_container_allows(tmp_path, files, limit):
    (tmp_path / "memory").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert memory_limit(32 * GIB, tmp_path) == limit


@pytest.mark.parametrize(("files", "quota"), [
    ({}, None), ({"cpu.max": "max 100000"}, None), ({"cpu.max": "250000 100000"}, 2.5), ({"cpu.max": ""}, None),
    ({"cpu.max": "1 0"}, None),
    ({"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 1.5),
    ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
])  # fmt: skip
def test_the_time_that_a_container_is_given(tmp_path, files, quota):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert cpu_quota(tmp_path) == quota


# Variables


def test_only_what_matters_in_order():
    found = variables_that_matter(
        {"PATH": "/bin", "OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "", "HOME": "/h", "OLLAMA_HOST": "x",
         "https_proxy": "http://proxy:3128", "MY_CUDA_THING": "1"}
    )  # fmt: skip
    assert list(found) == ["CUDA_VISIBLE_DEVICES", "OLLAMA_HOST", "OMP_NUM_THREADS", "https_proxy"]
    assert found["https_proxy"] == "http://proxy:3128"


@pytest.mark.parametrize(("name", "value", "shown"), [
    ("HF_TOKEN", "hf_abcdefghijkl", HIDDEN), ("HF_TOKEN", "", ""), ("OLLAMA_API_KEY", "x", HIDDEN),
    ("LM_API_TOKEN", "x", HIDDEN), ("VLLM_APIKEY", "x", HIDDEN), ("HF_HOME", "/models", "/models"),
    ("HF_ENDPOINT", "https://hf_abcdefghijkl@example.org", HIDDEN), ("OLLAMA_HEADERS", "Bearer abc", HIDDEN),
    ("HTTPS_PROXY", "http://me:secret@proxy:3128/x", "http://***@proxy:3128/x"),
    ("HTTPS_PROXY", "me:secret@proxy:3128", HIDDEN), ("HTTPS_PROXY", "http://proxy:3128", "http://proxy:3128"),
    ("HTTPS_PROXY", "http://me@proxy", "http://***@proxy"), ("HTTPS_PROXY", "http://[::1:a@b", HIDDEN),
    ("OLLAMA_HOST", "0.0.0.0:11434", "0.0.0.0:11434"), ("HF_HUB_CACHE", "/a@b/c", "/a@b/c"),
])  # fmt: skip
def test_secrets_are_not_shown(name, value, shown):
    assert masked(name, value) == shown


@given(st.text(min_size=3, alphabet=st.characters(exclude_characters="/?#@:*", min_codepoint=33, max_codepoint=126)))
@example("***")
def test_no_password_in_an_address_is_shown(password):
    shown = masked("HTTPS_PROXY", f"http://user:{password}@proxy:3128")
    assert shown in {"http://***@proxy:3128", HIDDEN}


# The speed of the memory


class Ticks:
    def __init__(self, step):
        self.values = itertools.count(0, step)

    def __call__(self):
        return next(self.values)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("reads", [True, False])
def test_memory_is_gone_through(threads, reads):
    if reads and os.name == "nt":
        pytest.skip("no such function there")
    found = measure_bandwidth(threads, 2**40, buffer_bytes=2**22, budget_s=0.01, reads=reads)
    assert found.threads == threads
    assert found.buffer_bytes == 2**22 // threads // 4096 * 4096 * threads
    assert found.passes >= 1
    assert found.bytes_per_second > 2**20
    assert ("reading" if reads else "copying") in found.method


def test_the_rate_is_bytes_over_the_time_of_the_fastest_pass():
    found = measure_bandwidth(1, 2**40, buffer_bytes=2**20, budget_s=10, clock=Ticks(1.0))
    assert found.bytes_per_second == 2**20
    assert 1 < found.passes < 10


def test_too_little_memory_says_nothing():
    assert measure_bandwidth(2, 100 * 2**20) is None
    assert measure_bandwidth(2, 0) is None
