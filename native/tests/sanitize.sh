#!/usr/bin/env bash
# Builds and tests nitinol: plain, under ThreadSanitizer, or under AddressSanitizer and
# UndefinedBehaviorSanitizer, Metal kernels on the emulator included. Without `python` the C++ tests
# are built, without Python, and run; with it the Python package, in the same folder, and pytest.
set -euo pipefail

if [[ ! ${1-} =~ ^(plain|thread|address)$ ]]; then
  echo "usage: $0 plain|thread|address [arguments of meson test]" >&2
  echo "       $0 plain|thread|address python [arguments of pytest]" >&2
  echo "The build goes to build-MODE, or to MODE in the folder \$NITINOL_BUILD_ROOT." >&2
  exit 2
fi
mode=$1
shift
python=false
if [[ ${1-} == python ]]; then
  python=true
  shift
fi
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

if [[ -n ${NITINOL_BUILD_ROOT-} ]]; then
  build=$(realpath -m "$NITINOL_BUILD_ROOT/$mode")
else
  build=$PWD/build-$mode
fi
site=$build/site

# -O1 keeps stacks readable and the tests quick, and stacks are all that needs debugging information;
# assertions stay on.
options=(-Dtests=true -Dwerror=true -Db_ndebug=false -Dprecompile=true "-Dextension=$python")
options+=("-Dpython.purelibdir=$site" "-Dpython.platlibdir=$site")
sanitized=(-Dbuildtype=plain -Doptimization=1 -Dcpp_args=-g1 -Dobjcpp_args=-g1 -Db_lundef=false)
case $mode in
  plain) options+=(-Dbuildtype=release) ;;
  thread) options+=("${sanitized[@]}" -Db_sanitize=thread) ;;
  address) options+=("${sanitized[@]}" -Db_sanitize=address,undefined) ;;
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

if [[ -d $build ]]; then
  meson setup --reconfigure "$build" "${options[@]}" >/dev/null
else
  meson setup "$build" "${options[@]}"
fi

# Runs pytest on what was built. A sanitizer's runtime has to be in the process before anything
# else, hence preloaded, and the C++ library with it, whose functions it looks for when it starts.
python_tests() {
  export PYTHONPATH=$site${PYTHONPATH+:$PYTHONPATH}
  if [[ $mode == plain ]]; then
    exec python3 -m pytest "$@"
  fi
  local name=tsan
  [[ $mode == thread ]] || name=asan
  local runtime
  runtime=$($CXX -print-file-name="libclang_rt.$name-$(uname -m).so")
  if [[ $runtime != */* ]]; then
    echo "$0: $CXX has no shared runtime of $name; clang has (libclang-rt-19-dev)." >&2
    exit 2
  fi
  # Reports go to files: standard error is what many tests look at, and pytest's belongs to pytest.
  local reports=$build/sanitizer-reports
  rm -rf "$reports"
  mkdir "$reports"
  local common=log_path=$reports/report
  # Children of fork() that go on are among what is tested.
  export TSAN_OPTIONS="halt_on_error=0:die_after_fork=0:$common:$TSAN_OPTIONS"
  # Leaks are not looked for: CPython and NumPy keep thousands of blocks to the end, each of ours
  # hangs at one of theirs, and tests/faults/test_leaks.py counts them by itself. An allocation that
  # can't be had is an error of ours to raise, not the sanitizer's to end the process for.
  export ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:$common:${ASAN_OPTIONS-}"
  export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:$common:${UBSAN_OPTIONS-}"
  local status=0
  # Python's own allocator would hide from the sanitizer what becomes of its objects.
  PYTHONMALLOC=malloc LD_PRELOAD="$runtime $($CXX -print-file-name=libstdc++.so.6)" \
    python3 -m pytest -p no:cacheprovider "$@" || status=$?
  if [[ -n $(ls "$reports") ]]; then
    cat "$reports"/*
    echo "$0: the $mode sanitizer reported what is above." >&2
    status=1
  fi
  exit "$status"
}

export TSAN_OPTIONS="second_deadlock_stack=1:${TSAN_OPTIONS-}"
if $python; then
  ninja -C "$build" package
  meson install -C "$build" --no-rebuild --quiet
  python_tests "$@"
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
export TSAN_OPTIONS="halt_on_error=1:$TSAN_OPTIONS"
exec meson test -C "$build" --no-rebuild --print-errorlogs "$@"
