#!/usr/bin/env bash
# Try the program on the GPU of this machine, in at most eight minutes, and write docs/gpu.md. It needs nvcc, cmake,
# ninja and Python 3.11 or newer, and no network where build/gpu-kit is there (scripts/gpu_kit.sh packs it).
#
#     scripts/gpu_check.sh                      build, then check: the backend is cuda
#     scripts/gpu_check.sh --backend vulkan     or cpu: the same without a GPU, which writes no page
#     scripts/gpu_check.sh --only build         one half, for a machine that is lent by the minute; then --only check
#     scripts/gpu_check.sh --model FILE.gguf    another model than the one with random weights that it makes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

backend=cuda only="" model=() minutes=8
while [ $# -gt 0 ]; do
    case $1 in
        --backend) backend=$2 ;;
        --only) only=$2 ;;
        --model) model=(--model "$2") ;;
        --minutes) minutes=$2 ;;
        *) echo "usage: scripts/gpu_check.sh [--backend cuda|vulkan|cpu] [--only build|check] [--model FILE] [--minutes N]" >&2
            exit 2 ;;
    esac
    shift 2
done
began=$SECONDS
kit=build/gpu-kit
work=${GPU_CHECK_FOLDER:-build/gpu-check-$backend}
mkdir -p "$work"
work=$(cd "$work" && pwd)

fail() {
    echo "gpu_check: $*" >&2
    exit 1
}

# An environment of its own; the one of the checkout where there is no kit.
environment() {
    if [ ! -d "$kit" ]; then
        [ -x "${PYTHON:-.venv/bin/python}" ] || fail "there is neither $kit nor .venv: type make setup, or scripts/gpu_kit.sh"
        python=${PYTHON:-.venv/bin/python}
        return
    fi
    python=$work/venv/bin/python
    if [ ! -x "$python" ]; then
        python3 -m venv "$work/venv"
        "$python" -m pip install --quiet --no-index --find-links "$kit/wheels" --requirement "$kit/requirements.txt"
    fi
}

# The architecture of the GPU that is there, such as 90: code for all of them takes ten times as long to compile.
cuda_options() {
    command -v nvcc > /dev/null || fail "there is no nvcc: install the CUDA toolkit, or name --backend vulkan or cpu"
    local found
    found=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ') ||
        fail "nvidia-smi finds no GPU"
    [ -n "$found" ] || fail "nvidia-smi finds no GPU"
    echo "-DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=$found-real"
}

build() {
    local source=$work/llama.cpp options=(-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DLLAMA_CURL=OFF
        -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF
        -DLLAMA_BUILD_UI=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_COMMON=ON -DLLAMA_BUILD_TOOLS=ON)
    if [ ! -d "$source" ]; then
        if [ -d "$kit" ]; then
            mkdir -p "$source"
            tar -C "$source" -xJf "$kit/llama.cpp.tar.xz"
        else
            ln -s "$("$python" -c 'from benchmarks.llama_cpp_tools import source_folder; print(source_folder())')" "$source"
        fi
    fi
    local more
    case $backend in
        cuda) more=$(cuda_options) ;;
        vulkan) more="-DGGML_VULKAN=ON ${VULKAN_INCLUDE:+-DVulkan_INCLUDE_DIR=$VULKAN_INCLUDE}" ;;
        cpu) more="" ;;
        *) fail "--backend takes cuda, vulkan or cpu" ;;
    esac
    # Some compilers make code for AMX that crashes: scripts/bootstrap.py knows which.
    CFLAGS=$("$python" -c 'from scripts.bootstrap import build_environment as b; print(b().get("CFLAGS", ""))')
    export CFLAGS CXXFLAGS=$CFLAGS
    # shellcheck disable=SC2086  # several options
    cmake -S "$source" -B "$work/objects" -G Ninja "${options[@]}" $more > "$work/cmake.log" 2>&1 ||
        fail "cmake failed: $(tail -n 3 "$work/cmake.log")"
    cmake --build "$work/objects" --target llama-bench llama > "$work/build.log" 2>&1 ||
        fail "compiling failed: $(grep -m 3 -i error "$work/build.log" || tail -n 3 "$work/build.log")"
    echo "$((SECONDS - began))" > "$work/build-seconds"
    echo "Built for $backend in $((SECONDS - began)) s."
}

# The binding, with the libraries that were just built: llama-bench runs on the very same ones.
site() {
    local from=$kit/site
    [ -d "$from" ] || from=$("$python" -c 'import llama_cpp, pathlib; print(pathlib.Path(llama_cpp.__file__).parents[1])')
    rm -rf "$work/site"
    mkdir -p "$work/site/llama_cpp"
    cp -r "$from"/llama_cpp/*.py "$work/site/llama_cpp/"
    cp -r "$from"/llama_cpp_python-*.dist-info "$work/site/"
    ln -s "$work/objects/bin" "$work/site/llama_cpp/lib"
}

environment
if [ "$only" != check ]; then
    build
fi
if [ "$only" != build ]; then
    site
    [ "$backend" != vulkan ] || export GGML_VK_VISIBLE_DEVICES=${GGML_VK_VISIBLE_DEVICES:-0}
    left=$((minutes * 60 - (SECONDS - began)))
    PYTHONPATH=$work/site:$PWD "$python" -m scripts.gpu_check --folder "$work" --backend "$backend" \
        --seconds "$left" "${model[@]}"
fi
