// Op: the operations a node can stand for (the rows of ops.def), and Params, what
// a node carries besides its inputs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nitinol/ref.h"

namespace nitinol {

enum class Op : std::uint8_t {
  data,  // a leaf: the value was there when the node was made
  view,  // another layout over the storage of its one input
#define NITINOL_ELEMENTWISE(name, arity, ufunc) name,
#define NITINOL_KERNEL(name) name,
#include "nitinol/ops.def"
#undef NITINOL_ELEMENTWISE
#undef NITINOL_KERNEL
  count_
};

inline constexpr int op_count = static_cast<int>(Op::count_);

struct OpInfo {
  const char* name;
  const char* ufunc;   // the NumPy ufunc whose loops run it; nullptr: own loops or a kernel
  std::uint8_t arity;  // 0: any number of inputs
  bool elementwise;    // may be fused
};

class Device;

const OpInfo& info(Op op) noexcept;
Op op_from_name(const char* text) noexcept;  // Op::count_ when unknown

// Parameters known when the graph is built. What the entries mean is said beside
// the op's row in ops.def.
struct Params : Counted<Params> {
  std::vector<std::int64_t> ints;
  std::vector<double> floats;
  std::string text;
  Device* memory = nullptr;  // in whose memory the output is to lie; null: where the op runs
};

}  // namespace nitinol
