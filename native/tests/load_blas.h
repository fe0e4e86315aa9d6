// The OpenBLAS of a test: the first argument, or NITINOL_TEST_BLAS in the environment.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "cpu/blas.h"

namespace nitinol::cpu::testing {

// What the program is to end with at once: 77, skipped, without a library; 0: go on.
inline int load_blas(int argc, char** argv) {
  const char* library = argc > 1 ? argv[1] : std::getenv("NITINOL_TEST_BLAS");
  if (!library) {
    std::printf("no OpenBLAS library given: what needs it is skipped\n");
    return 77;
  }
  if (blas::load(library)) return 0;
  std::fprintf(stderr, "%s\n", blas::load_error());
  return 1;
}

}  // namespace nitinol::cpu::testing
