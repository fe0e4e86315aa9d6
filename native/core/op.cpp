// The table of operations, made from ops.def.
#include "nitinol/op.h"

#include <cstring>

namespace nitinol {

namespace {
constexpr OpInfo table[] = {
    {"data", nullptr, 0, false},
    {"view", nullptr, 1, false},
#define NITINOL_ELEMENTWISE(name, arity, ufunc) {#name, ufunc, arity, true},
#define NITINOL_KERNEL(name) {#name, nullptr, 0, false},
#include "nitinol/ops.def"
#undef NITINOL_ELEMENTWISE
#undef NITINOL_KERNEL
};
static_assert(sizeof(table) / sizeof(table[0]) == op_count);
}  // namespace

const OpInfo& info(Op op) noexcept { return table[static_cast<int>(op)]; }

Op op_from_name(const char* text) noexcept {
  for (int i = 0; i < op_count; ++i) {
    if (std::strcmp(table[i].name, text) == 0) return static_cast<Op>(i);
  }
  return Op::count_;
}

}  // namespace nitinol
