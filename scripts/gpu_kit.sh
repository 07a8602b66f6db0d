#!/usr/bin/env bash
# Pack what scripts/gpu_check.sh needs on a machine without network into build/gpu-kit: the source of llama.cpp, the
# Python files of its binding, and the wheels of everything else. CUDA, cmake and ninja are expected there.
#     scripts/gpu_kit.sh [PYTHON VERSION THERE, such as 3.11]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kit=build/gpu-kit
python=.venv/bin/python
version=$("$python" -c 'import importlib.metadata as m; print(m.version("llama-cpp-python"))')
there=${1:-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
rm -rf "$kit"
mkdir -p "$kit/wheels" "$kit/site"

# The source: what the libraries and llama-bench are made of.
source=$("$python" -c 'from benchmarks.llama_cpp_tools import source_folder; print(source_folder())')
tar -C "$source" -cJf "$kit/llama.cpp.tar.xz" --exclude='tools/ui/*' --exclude='*.png' --exclude='*.gz' \
    --exclude='ggml/src/ggml-webgpu/*' --exclude='ggml/src/ggml-hexagon/*' \
    CMakeLists.txt LICENSE cmake common ggml include licenses pyproject.toml scripts src tools vendor

# The binding without its libraries.
packages=$("$python" -c 'import llama_cpp, pathlib; print(pathlib.Path(llama_cpp.__file__).parents[1])')
tar -C "$packages" -c --exclude='llama_cpp/lib' --exclude=__pycache__ llama_cpp "llama_cpp_python-$version.dist-info" |
    tar -C "$kit/site" -x

# Everything else, for the Python there. llama-cpp-python itself is in $kit/site.
"$python" - > "$kit/requirements.txt" <<'PYTHON'
import tomllib
with open("pyproject.toml", "rb") as file:
    print("\n".join([*(line for line in tomllib.load(file)["project"]["dependencies"] if "llama-cpp" not in line),
                     "numpy", "diskcache", "typing-extensions", "gguf>=0.19,<1"]))
PYTHON
"$python" -m pip download --quiet --only-binary :all: --python-version "$there" --dest "$kit/wheels" \
    --requirement "$kit/requirements.txt"
du -sh "$kit"
echo "Carry the checkout with $kit, and type there: scripts/gpu_check.sh"
