#!/usr/bin/env bash
# Installs what the emulated Metal device needs on Debian, builds nitinol with it, and runs the C++
# tests, then on it the tests of every device, a short run of the main job, and the tests of the
# guarantees with late and reordered completion handlers.
# Arguments go to pytest. nitinol's 'test' extra has to be installed for the python3 on PATH.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v clang++-19 >/dev/null || [[ $(g++ -print-file-name=libobjc.so) != */* ]]; then
  packages=(clang-19 libclang-rt-19-dev libobjc-12-dev)
  if ((EUID != 0)); then
    echo "$0: this needs the packages ${packages[*]}; root can have them installed by this script." >&2
    exit 2
  fi
  apt-get update -qq
  apt-get install -qq -y "${packages[@]}" >/dev/null
fi

# One build for the C++ tests and for the Python package.
site=$PWD/build-plain/site
NITINOL_PYTHON_SITE=$site NITINOL_BUILD_ROOT='' native/tests/sanitize.sh plain
meson install -C build-plain --no-rebuild --quiet

export PYTHONPATH=$site
python3 -m pytest tests/device tests/metal -k metal "$@"
# Completion handlers may come late and in any order: no guarantee depends on them.
METAL_EMULATOR="disorder:seed=1,delay_us=2000" python3 -m pytest tests/faults -k metal "$@"
