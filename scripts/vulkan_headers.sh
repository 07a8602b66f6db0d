#!/usr/bin/env bash
# Fetch the Vulkan headers of a later Debian into a folder, without installing anything:
#     scripts/vulkan_headers.sh [SUITE [FOLDER]]        prints the folder for VULKAN_INCLUDE
# llama.cpp needs 1.3.272; Debian 12 has 1.3.239. The mirror is the one that this system uses.
set -euo pipefail

suite=${1:-trixie}
folder=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/workbench-builds/vulkan-headers-$suite}
include=$folder/usr/include
if [ -e "$include/vulkan/vulkan_core.h" ]; then
    echo "$include"
    exit
fi
# shellcheck disable=SC2016  # apt-get replaces these words
mirror=$(apt-get indextargets --format '$(SITE)' | grep -m 1 '/debian/\?$')
apt=$folder/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
echo "deb $mirror $suite main" > "$apt/sources.list"
options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
apt-get "${options[@]}" update > /dev/null
(cd "$apt" && apt-get "${options[@]}" download libvulkan-dev > /dev/null)
dpkg -x "$apt"/libvulkan-dev_*.deb "$folder"
rm -r "$apt"
echo "$include"
