// The elementwise inner loops this device brings itself, in the shape of NumPy's, so
// that a fused program runs either alike.
#pragma once

#include <cstdint>

#include "nitinol/dtype.h"
#include "nitinol/fault.h"
#include "nitinol/op.h"

namespace nitinol::cpu {

// `data`: the operands and then the output; `dimensions[0]`: the count; `strides` in
// bytes. Own loops return 0: what goes wrong is written to the context's fault.
using StridedLoop = int (*)(void* context, char* const* data, const std::intptr_t* dimensions,
                            const std::intptr_t* strides, void* aux);

// What `context` points to for own loops. They change neither.
struct LoopContext {
  FaultSlot* fault;
  std::int64_t position;  // flat index of the first element
};

// The own loop of `op`, or null. `in` is the dtype of the operands after promotion
// (cast: of the source; where: of x and y, the condition is bool), `out` the result's.
StridedLoop find_loop(Op op, DType in, DType out) noexcept;

}  // namespace nitinol::cpu
