from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.servers.ollama import OllamaServer
from tests.telemetry.stub import GB10, GIB, H200, QUADRO_600, RTX_4090, Play, compile_stub
from workbench.cli import doctor
from workbench.core.servers import ServerInfo
from workbench.core.telemetry import ComputeDevice, GpuInfo, GpuSample, SourceState
from workbench.engine.llama.probe import LlamaBuild, LlamaProbe

BUILD = LlamaBuild("0.3.36", "0.25.3", "0c1e570", ("CPU",), False, "CPU : AVX = 1 | AVX2 = 1 | FMA = 1 | F16C = 1 | ")
CPU = ComputeDevice("CPU", "cpu", "a processor", "CPU", total_bytes=16 * GIB)
FIELDS = {
    "machine", "memory", "llama_cpp", "engine_problem", "backends", "devices", "gpus", "sources", "driver", "versions",
    "folders", "servers", "silent_servers", "environment", "findings", "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def stub_library(tmp_path_factory):
    """A driver's library without a driver."""
    return compile_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def machine(monkeypatch):
    """Another machine than this one."""

    def be(probe=None, gpus=(), states=(), driver=None, servers=(), silent=()):
        monkeypatch.setattr(doctor, "probe_llama", lambda: probe or LlamaProbe(BUILD, (CPU,)))
        monkeypatch.setattr(doctor, "look_at_gpus", lambda: (tuple(gpus), tuple(states), driver or {}))
        monkeypatch.setattr(doctor, "look_at_servers", lambda _: (tuple(servers), tuple(silent)))

    for name in list(os.environ):
        if name.startswith(("CUDA_", "OMP_", "GGML_", "HIP_")):
            monkeypatch.delenv(name)
    be()
    return be


def examine(call, *options):
    status, out, err = call("doctor", "--json", "--no-bandwidth", *options)
    assert (status, err) == (0, "")
    return json.loads(out)


def test_this_machine_for_real(call):
    status, out, err = call("doctor", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found.keys() == FIELDS
    assert "CPU" in found["backends"]
    assert "CPU" in [device["name"] for device in found["devices"]]
    assert found["llama_cpp"]["commit"]
    assert found["engine_problem"] is None
    assert found["memory"]["bandwidth"]["bytes_per_second"] > 2**28
    assert found["machine"]["cores"] >= 1
    assert found["versions"]["psutil"]
    for finding in found["findings"]:
        assert finding.keys() == {"id", "severity", "text", "hint", "subject"}
    assert [folder["name"] for folder in found["folders"]][:3] == ["config_dir", "themes_dir", "data_dir"]


def test_for_people(call, machine):
    machine()
    status, out, err = call("doctor", "--no-bandwidth")
    assert (status, err) == (0, "")
    sections = ["llama.cpp", "GPUs reported by drivers", "folders", "servers", "versions"]
    for section in (*sections, "findings"):
        assert f"\n\n{section}\n" in out
    assert out.startswith("machine\n")
    assert "llama-cpp-python 0.3.36, ggml 0.25.3, commit 0c1e570" in out
    assert "no server answers on the usual ports" in out
    assert "(not measured)" in out


def test_a_gpu_is_matched_by_its_address(call, machine):
    gpu = ComputeDevice("CUDA0", "gpu", "NVIDIA H200", "CUDA", "0000:c1:00.0", 5, 9)
    other = ComputeDevice("CUDA1", "gpu", "NVIDIA H200", "CUDA", "0000:01:00.0", 5, 9)
    cards = [
        GpuSample(GpuInfo("GPU-a", "nvml", 0, "NVIDIA H200", pci_id="0000:01:00.0"), energy_mj=7),
        GpuSample(GpuInfo("GPU-b", "nvml", 1, "NVIDIA H200", pci_id="0000:c1:00.0")),
    ]
    machine(LlamaProbe(BUILD, (gpu, other, CPU)), cards, [SourceState("nvml", "working")], {"driver": "570"})
    found = examine(call)
    assert [(device["name"], device["gpu"]) for device in found["devices"]] == [
        ("CUDA0", "GPU-b"), ("CUDA1", "GPU-a"), ("CPU", None)
    ]  # fmt: skip
    assert [card["devices"] for card in found["gpus"]] == [["CUDA1"], ["CUDA0"]]
    assert found["gpus"][0]["energy_mj"] == 7
    assert found["gpus"][1]["energy_mj"] is None
    assert found["driver"] == {"driver": "570"}
    assert "gpu-unused" not in {finding["id"] for finding in found["findings"]}


def test_a_gpu_that_the_build_cannot_use_comes_with_its_command(call, machine):
    card = GpuSample(GpuInfo("GPU-a", "nvml", 0, "NVIDIA \x1b[2JRTX", pci_id="0000:01:00.0", capability=(8, 9)))
    machine(gpus=[card], driver={"cuda": "12.4"})
    (finding,) = [each for each in examine(call)["findings"] if each["id"] == "gpu-unused"]
    assert 'CMAKE_ARGS="-DGGML_CUDA=on" pip install' in finding["hint"]
    _, out, _ = call("doctor", "--no-bandwidth")
    assert "cannot use NVIDIA" in out
    assert "CMAKE_ARGS" in out
    assert "\x1b" not in out


def test_a_crash_of_llama_cpp_does_not_hide_the_rest(call, machine):
    machine(LlamaProbe(BUILD, (CPU,), "it ended with status -6"))
    found = examine(call)
    assert found["engine_problem"] == "it ended with status -6"
    assert found["findings"][0]["id"] == "engine"
    assert [device["name"] for device in found["devices"]] == ["CPU"]
    machine(LlamaProbe(problem="OSError: no such library"))
    found = examine(call)
    assert (found["llama_cpp"], found["backends"], found["devices"]) == (None, [], [])
    status, out, _ = call("doctor", "--no-bandwidth")
    assert status == 0
    assert "It could not be loaded." in out
    assert "error: llama.cpp does not load: OSError: no such library" in out


def test_secrets_never_show(call, machine, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_verysecretvalue")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    found = examine(call)
    assert found["environment"]["OMP_WAIT_POLICY"] == "passive"
    assert "HF_TOKEN" in found["environment"]
    assert "omp-wait-policy" in {finding["id"] for finding in found["findings"]}
    assert "verysecret" not in json.dumps(found)
    _, out, _ = call("doctor", "--no-bandwidth")
    assert "verysecret" not in out
    assert "OMP_WAIT_POLICY=passive" in out


def test_servers(call, machine):
    machine(
        servers=[ServerInfo("http://127.0.0.1:11434", "Ollama", "0.33.0", ("a", "b", "c", "d"))],
        silent=[("http://gpu:8000", "Nothing answers at gpu:8000.")],
    )
    found = examine(call)
    assert found["servers"] == [
        {
            "url": "http://127.0.0.1:11434",
            "kind": "Ollama",
            "version": "0.33.0",
            "models": ["a", "b", "c", "d"],
            "router": False,
        }
    ]
    assert found["silent_servers"] == [{"url": "http://gpu:8000", "problem": "Nothing answers at gpu:8000."}]
    _, out, _ = call("doctor", "--no-bandwidth")
    assert "a, b, c and 1 more" in out
    assert "http://gpu:8000: Nothing answers" in out


def test_servers_for_real(call, serve, tmp_path):
    served = serve(OllamaServer())
    config = tmp_path / "home/config/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'servers = ["{served.url}", "http://127.0.0.1:9"]\n')
    found = examine(call)
    assert [(server["url"], server["kind"]) for server in found["servers"]] == [(served.url, "Ollama")]
    assert [server["url"] for server in found["silent_servers"]] == ["http://127.0.0.1:9"]


def test_a_config_file_with_a_mistake(call, machine, tmp_path):
    config = tmp_path / "home/config/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('modell = "x"\nmodel_folders = ["/no/such/place"]\n')
    found = {finding["id"]: finding for finding in examine(call)["findings"]}
    assert "modell" in found["config"]["text"]
    assert "/no/such/place" in found["model-folder"]["text"]


@pytest.mark.parametrize(
    ("limit", "free"), [((GIB, GIB // 4), GIB - GIB // 4), ((GIB, None), GIB), ((GIB, 2 * GIB), 0)]
)
def test_in_a_container_only_what_it_allows_is_free(call, machine, monkeypatch, limit, free):
    monkeypatch.setattr(doctor, "memory_limit", lambda total: limit)
    found = examine(call)
    assert found["memory"]["limit_bytes"] == GIB
    assert found["memory"]["free_bytes"] == free
    assert "memory-limit" in {finding["id"] for finding in found["findings"]}


def test_bad_usage(call):
    status, _, err = call("doctor", "--jsonn")
    assert status == 2
    assert "doctor" in err


def doctor_with_stub(library, path):
    """The real command in a process that finds the stub."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent), "FAKE_NVML_FILE": str(path)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-m", "workbench.cli.main", "doctor", "--json", "--no-bandwidth"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_with_cards_that_the_driver_sees(stub_library, tmp_path):
    play = Play(tmp_path / "nvml.txt")
    play.show(QUADRO_600, RTX_4090 | {"compute": ""}, H200, GB10, cuda=12_080)
    found = doctor_with_stub(stub_library, play.path)
    assert [gpu["gpu"]["name"] for gpu in found["gpus"]] == [
        "Quadro 600", "NVIDIA GeForce RTX 4090", "NVIDIA H200", "NVIDIA GB10"
    ]  # fmt: skip
    assert found["driver"] == {"driver": "570.86.15", "cuda": "12.8"}
    findings = {finding["subject"]: finding for finding in found["findings"]}
    assert findings["GPU-600"]["id"] == "gpu-too-old"
    assert "compute capability 2.1" in findings["GPU-600"]["text"]
    assert findings["GPU-4090"]["id"] == findings["GPU-h200"]["id"] == "gpu-unused"
    assert "GGML_CUDA=on" in findings["GPU-h200"]["hint"]
    assert found["gpus"][3]["gpu"]["unified"]
    assert found["gpus"][1]["memory_used"] == GIB


@pytest.mark.parametrize(("play_as", "words"), [
    ({"init": 18}, "restart the machine"), ({"init": 999}, "start the container again"), ({"crash": 1}, "crashed"),
    ({"error": 15}, "fell off the bus"),
])  # fmt: skip
def test_with_a_driver_in_trouble(stub_library, tmp_path, play_as, words):
    play = Play(tmp_path / "nvml.txt")
    play.show(RTX_4090, **play_as)
    found = doctor_with_stub(stub_library, play.path)
    (finding,) = [each for each in found["findings"] if each["id"] == "gpu-driver"]
    assert words in finding["text"]
    assert found["gpus"] == []
    assert "CPU" in found["backends"]
