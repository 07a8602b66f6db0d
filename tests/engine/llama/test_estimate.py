"""What the engine expects a model to take, against what llama.cpp says that it took."""

from __future__ import annotations

import asyncio

import pytest

from workbench.core.cancel import CancelToken
from workbench.core.parameters import LoadSettings
from workbench.engine.llama.devices import repacked_types
from workbench.engine.llama.quantize.quantizer import quantize
from workbench.gguf.quantization import QuantizeJob
from workbench.gguf.targets import QUANT_TYPES

SETTINGS = [
    {"num_ctx": 512},
    {"num_ctx": 8192, "flash_attn": "off"},
    {"num_ctx": 2048, "num_batch": 64, "flash_attn": "on"},
    {"num_ctx": 8192, "type_k": "q8_0", "type_v": "q8_0"},
    {"num_ctx": 1000, "num_batch": 2048, "use_mmap": False},
]


@pytest.fixture(scope="module")
def quantizations(short_demo, variants, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("quantizations")

    async def make() -> None:
        for quant in ("Q4_0", "Q4_K_M"):
            target = folder / f"demo-{quant}.gguf"
            await quantize(QuantizeJob(short_demo, target, QUANT_TYPES[quant], allow_requantize=True))

    asyncio.run(make())
    return {path.stem: str(path) for path in folder.iterdir()} | {
        "demo": str(short_demo),
        "demo-Q8_0": variants["Q8_0"],
    }


@pytest.mark.parametrize("name", ["demo", "demo-Q8_0", "demo-Q4_0", "demo-Q4_K_M"])
async def test_models_take_what_was_expected(host, models, quantizations, name):
    models.update(quantizations)
    # Caches do not depend on the type of the weights; how those are held does, on whether the file is mapped too.
    for settings in SETTINGS if name == "demo" else [SETTINGS[0], SETTINGS[-1]]:
        engine = await host.open(name, LoadSettings(**settings), lambda _: None, CancelToken())
        taken, expected = engine.info.memory, engine.info.estimate
        await engine.close()
        assert expected.kv_bytes == pytest.approx(taken.kv_bytes, abs=6000), settings
        assert expected.weights_bytes == pytest.approx(taken.weights_bytes, rel=0.01), settings
        assert expected.total_bytes == pytest.approx(taken.total_bytes, rel=0.03), settings
        assert expected.device == taken.device


@pytest.mark.parametrize(
    ("info", "some", "none"),
    [
        ("CPU : SSE3 = 1 | AVX2 = 1 | REPACK = 1 | ", {"Q4_0", "Q4_K", "IQ4_NL"}, {"Q2_K", "Q8_0", "Q5_K"}),
        ("CPU : AVX2 = 1 | AVX512 = 1 | REPACK = 1 | ", {"Q4_0", "Q2_K"}, {"Q6_K"}),
        ("Metal : EMBED = 1 | CPU : NEON = 1 | DOTPROD = 1 | REPACK = 1 | ", {"Q8_0", "Q6_K", "IQ4_NL"}, {"Q2_K"}),
        ("CPU : AVX2 = 1 | ", set(), {"Q4_0"}),
        ("CPU : AVX2 = 0 | REPACK = 1 | ", set(), {"Q4_0"}),
        ("", set(), {"Q4_0"}),
    ],
)
def test_what_is_rearranged_depends_on_the_processor(info, some, none):
    found = repacked_types(info)
    assert some <= found
    assert not none & found
