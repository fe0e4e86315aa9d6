#!/usr/bin/env bash
# Builds the C++ tests without Python and runs them: plain, under ThreadSanitizer, or under
# AddressSanitizer and UndefinedBehaviorSanitizer. More arguments go to `meson test`.
set -euo pipefail

if [[ ! ${1-} =~ ^(plain|thread|address)$ ]]; then
  echo "usage: $0 plain|thread|address [arguments of meson test]" >&2
  exit 2
fi
mode=$1
shift
cd "$(dirname "$0")/../.."
if ! command -v meson >/dev/null || ! command -v ninja >/dev/null; then
  echo "$0: meson and ninja were not found on PATH; the 'dev' extra installs them." >&2
  exit 2
fi

# -O1 keeps stacks readable and the tests quick; assertions stay on.
options=(-Dextension=false -Dtests=true -Dwerror=true -Db_ndebug=false)
case $mode in
  plain) options+=(-Dbuildtype=release) ;;
  thread) options+=(-Dbuildtype=debug -Doptimization=1 -Db_sanitize=thread -Db_lundef=false) ;;
  address) options+=(-Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false) ;;
esac
if [[ $mode != plain && -z ${CXX-} ]]; then
  for compiler in clang++-19 clang++ g++; do
    if command -v "$compiler" >/dev/null; then
      export CXX=$compiler
      break
    fi
  done
fi

build=build-$mode
if [[ -d $build ]]; then
  meson setup --reconfigure "$build" "${options[@]}" >/dev/null
else
  meson setup "$build" "${options[@]}"
fi
ninja -k 0 -C "$build"
# The tests of matmul and linear algebra need OpenBLAS, from the package that nitinol depends on.
if [[ -z ${NITINOL_TEST_BLAS-} ]]; then
  NITINOL_TEST_BLAS=$(python3 - <<'EOF' || true
import pathlib
import scipy_openblas64 as package
print(next(pathlib.Path(package.get_lib_dir()).glob(f"lib{package.get_library()}.*")))
EOF
  )
  [[ -n $NITINOL_TEST_BLAS ]] && export NITINOL_TEST_BLAS ||
    echo "$0: scipy-openblas64 is not installed here: what needs it is skipped." >&2
fi
export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:${TSAN_OPTIONS-}"
exec meson test -C "$build" --no-rebuild --print-errorlogs "$@"
