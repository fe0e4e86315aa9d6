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

# The C++ tests and the Python package are built on one core.
export NITINOL_BUILD_ROOT=
sanitize=native/tests/sanitize.sh
"$sanitize" plain
"$sanitize" plain python tests/device tests/metal -k metal "$@"
# Completion handlers may come late and in any order: no guarantee depends on them.
METAL_EMULATOR="disorder:seed=1,delay_us=2000" "$sanitize" plain python tests/faults -k metal "$@"
