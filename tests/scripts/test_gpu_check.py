from __future__ import annotations

import pytest

from scripts import gpu_check

SOFTWARE = {
    "devices": [{"name": "CPU", "kind": "cpu"}, {"name": "Vulkan0", "kind": "gpu", "description": "llvmpipe"}],
    "findings": [{"id": "software-device", "subject": "Vulkan0", "severity": "warning", "text": "Vulkan0 is no GPU."}],
}
CARD = {"devices": [{"name": "CUDA0", "kind": "gpu", "description": "NVIDIA H200"}], "findings": []}


@pytest.mark.parametrize(("doctor", "real"), [({}, False), (SOFTWARE, False), (CARD, True)])
def test_only_figures_of_a_gpu_go_into_the_page(doctor, real):
    assert gpu_check.on_gpu(doctor) is real


def test_a_part_that_failed_is_a_line_and_the_rest_is_reported():
    row = {"asked": 8, "got": 8, "estimated": 103 * 2**20, "taken": 100 * 2**20, "prefill_tps": 1234.5,
           "decode_tps": None, "escape_ms": 12.0}  # fmt: skip
    found = {
        "machine": {"date": "2026-12-01", "device": "NVIDIA H200", "system": "Linux", "python": "3.11",
                    "build_seconds": "200", "seconds": 90.0},
        "doctor": SOFTWARE,
        "offload": {"rows": [row, {"asked": 17, "failed": "status -6"}]},
        "bench": {
            "workbench": [{"n_prompt": 0, "n_gen": 128, "samples_ts": [98.0, 99.0, 120.0], "joules_per_token": 1.5}],
            "llama-bench": [{"n_prompt": 0, "n_gen": 128, "samples_ts": [100.0]}],
        },
        "race": {"failed": "no time was left for it"},
        "meters": {"seconds": 60.0, "samples": 60, "longest_gap_s": 1.0, "gpus": {}},
    }  # fmt: skip
    text = "\n".join(gpu_check.report_lines(found))
    assert "**race failed**: no time was left for it" in text
    assert "| 8 | 8 | 103.0 | 100.0 | +3.0 % | 1,234.5 | — | 12.0 |" in text
    assert "| 17 | failed: status -6 |" in text
    assert "| tg128 | 99.0 | 100.0 | 0.990 | 1.5 |" in text
    assert "- doctor, warning: Vulkan0 is no GPU." in text
