"""The environment variables that affect how models run, with secrets masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

PREFIXES = (
    *("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "GPU_", "ZES_", "ONEAPI_", "SYCL_", "VK_", "GGML_", "LLAMA_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "OLLAMA_", "HF_", "HUGGINGFACE_", "LMSTUDIO_", "LM_", "VLLM_"),
    *("WORKBENCH_",),
)
NAMES = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LD_PRELOAD"}
)
HIDDEN = "(set, not shown)"
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|API_?KEY|(^|_)KEY(_|$)|COOKIE", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"\b(hf_|sk-|ghp_|gho_|github_pat_|nvapi-|xox[abp]-|AKIA)[A-Za-z0-9_-]{8,}|\bBearer\s", re.IGNORECASE
)


def variables_that_matter(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that affect how models run, sorted by name, with values that may be secret masked."""
    chosen = {
        name: value for name, value in environment.items() if name.upper() in NAMES or name.upper().startswith(PREFIXES)
    }
    return {name: masked(name, chosen[name]) for name in sorted(chosen)}


def masked(name: str, value: str) -> str:
    """`value` without access tokens, and without passwords in addresses."""
    if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
        return HIDDEN if value else ""
    if "@" not in value:
        return value
    if "://" not in value:
        # A proxy address may lack its scheme.
        return HIDDEN if ":" in value.rpartition("@")[0] else value
    try:
        parts = urlsplit(value)
        if parts.username is None and parts.password is None and not parts.netloc.count("@"):
            return value
        return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))
    except ValueError:
        return HIDDEN
