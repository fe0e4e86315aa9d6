// Indices that arrays hold: their types in kernels, and offsets made of tuples of them.
#pragma once

#include <span>

#include "metal/kernels/region.h"

namespace nitinol::metal::kernels {

// INDEX_TYPE: what an integer array holds; LONG: the 64-bit type it is widened to.
inline void add_integer_type(Defines& defines, DType dtype) {
  defines.add("INDEX_TYPE", dtype);
  defines.add("LONG", is_signed_integer(dtype) ? "long" : "ulong");
}

// For index arrays of one shape B over adjacent axes, from `axis` on, of an array with these
// strides: one offset (int64) for each of B's positions, in scratch memory. An index out of range
// raises the flat position in B; the first array whose index there is wrong is the one to blame.
Operand resolve_indices(const Launch& launch, std::span<const Operand> indices, int axis,
                        std::span<const std::int64_t> strides) noexcept;

}  // namespace nitinol::metal::kernels
