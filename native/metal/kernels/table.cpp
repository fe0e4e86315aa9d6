// Which kernel runs which op.
#include "metal/kernels/kernels.h"

namespace nitinol::metal {

Kernel find_kernel(Op op) noexcept {
  switch (op) {
#define NITINOL_X(name) \
  case Op::name:        \
    return kernels::name;
    NITINOL_METAL_KERNELS(NITINOL_X)
#undef NITINOL_X
    default:
      return nullptr;
  }
}

}  // namespace nitinol::metal
