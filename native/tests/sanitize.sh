#!/usr/bin/env bash
# Builds the C++ tests without Python and runs them: plain, under ThreadSanitizer, or under
# AddressSanitizer and UndefinedBehaviorSanitizer, Metal kernels on the emulator included.
# More arguments go to `meson test`.
set -euo pipefail

if [[ ! ${1-} =~ ^(plain|thread|address)$ ]]; then
  echo "usage: $0 plain|thread|address [arguments of meson test]" >&2
  echo "The build goes to build-MODE, or to MODE in the folder \$NITINOL_BUILD_ROOT." >&2
  echo "With \$NITINOL_PYTHON_SITE the Python package is built too, to be installed there." >&2
  exit 2
fi
mode=$1
shift
cd "$(dirname "$0")/../.."
if ! command -v meson >/dev/null || ! command -v ninja >/dev/null; then
  echo "$0: meson and ninja were not found on PATH; the 'dev' extra installs them." >&2
  exit 2
fi

# Puts the first program of those named that is on PATH into the variable, unless that is set.
choose() {
  local -n chosen=$1
  shift
  for program in "$@"; do
    [[ -z ${chosen-} ]] && command -v "$program" >/dev/null && chosen=$program
  done
  return 0
}

# -O1 keeps stacks readable and the tests quick; assertions stay on.
options=(-Dtests=true -Dwerror=true -Db_ndebug=false)
if [[ -n ${NITINOL_PYTHON_SITE-} ]]; then
  options+=(-Dextension=true)
  options+=("-Dpython.purelibdir=$NITINOL_PYTHON_SITE" "-Dpython.platlibdir=$NITINOL_PYTHON_SITE")
else
  options+=(-Dextension=false)
fi
case $mode in
  plain) options+=(-Dbuildtype=release) ;;
  thread) options+=(-Dbuildtype=debug -Doptimization=1 -Db_sanitize=thread -Db_lundef=false) ;;
  address) options+=(-Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false) ;;
esac
[[ $mode == plain ]] || choose CXX clang++-19 clang++ g++
choose OBJCXX clang++-19 clang++

# Metal runs over the emulator. What keeps that from being built is said, and the rest is tested.
missing=
libobjc=$(g++ -print-file-name=libobjc.so 2>/dev/null || true)
[[ $libobjc == */* ]] || missing='g++ finds no libobjc (libobjc-12-dev has it)'
command -v ld >/dev/null || missing='there is no ld'
[[ -n ${OBJCXX-} ]] || missing='there is no clang++-19 (clang-19 has it)'
# Objects of two compilers don't share one sanitizer's runtime.
[[ $mode == plain || -n $missing || ${CXX-} == "$OBJCXX" ]] ||
  missing="a sanitizer needs one compiler, and CXX is ${CXX-}, OBJCXX is $OBJCXX"
if [[ -z $missing ]]; then
  options+=(-Dmetal=emulated)
else
  options+=(-Dmetal=disabled)
  echo "$0: Metal is not tested: $missing." >&2
fi
for variable in CXX OBJCXX; do
  [[ -z ${!variable-} ]] || export "${variable?}"
done

if [[ -n ${NITINOL_BUILD_ROOT-} ]]; then
  build=$NITINOL_BUILD_ROOT/$mode
else
  build=build-$mode
fi
if [[ -d $build ]]; then
  meson setup --reconfigure "$build" "${options[@]}" >/dev/null
else
  meson setup "$build" "${options[@]}"
fi
ninja -k 0 -C "$build"
# The tests of matmul and linear algebra need OpenBLAS, from the package that nitinol depends on.
if [[ -z ${NITINOL_TEST_BLAS-} ]]; then
  NITINOL_TEST_BLAS=$(python3 - <<'PYTHON' || true
import pathlib
import scipy_openblas64 as package
print(next(pathlib.Path(package.get_lib_dir()).glob(f"lib{package.get_library()}.*")))
PYTHON
  )
  [[ -n $NITINOL_TEST_BLAS ]] && export NITINOL_TEST_BLAS ||
    echo "$0: scipy-openblas64 is not installed here: what needs it is skipped." >&2
fi
# Plain mode runs every case of the kernels' tests; the sanitizers take a sample where hundreds of
# kernels would be compiled: a sanitizer makes each of them twice as slow to compile and to run.
[[ $mode == plain ]] || export NITINOL_TEST_SAMPLE=${NITINOL_TEST_SAMPLE:-4}
export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:${TSAN_OPTIONS-}"
exec meson test -C "$build" --no-rebuild --print-errorlogs "$@"
