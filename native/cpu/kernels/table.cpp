// Which kernel runs which op: the rows of ops.def, by name.
#include "../kernel.h"

namespace nitinol::cpu {

namespace kernels {
#define NITINOL_ELEMENTWISE(name, arity, ufunc)
#define NITINOL_KERNEL(name) void name(const Launch&) noexcept;
#include "nitinol/ops.def"
#undef NITINOL_ELEMENTWISE
#undef NITINOL_KERNEL
}  // namespace kernels

Kernel find_kernel(Op op) noexcept {
  switch (op) {
#define NITINOL_ELEMENTWISE(name, arity, ufunc)
#define NITINOL_KERNEL(name) \
  case Op::name:             \
    return kernels::name;
#include "nitinol/ops.def"
#undef NITINOL_ELEMENTWISE
#undef NITINOL_KERNEL
    default:
      return nullptr;
  }
}

}  // namespace nitinol::cpu
