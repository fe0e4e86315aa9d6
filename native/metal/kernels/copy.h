// Copies between strided regions, for other kernels that need an operand elsewhere.
#pragma once

#include "metal/kernels/launch_helpers.h"

namespace nitinol::metal::kernels {

// Copies a region of elements of `item` bytes (1, 2, 4 or 8). Operand 0 of the walk is the
// destination, 1 the source.
void copy_region(Encoder& encoder, std::size_t item, const Walk& walk, const Operand& to,
                 const Operand& from) noexcept;

// `x` in row-major order to the start of `to`.
void copy_dense(Encoder& encoder, const Operand& x, const Operand& to) noexcept;

// `x` with its elements converted, in row-major order to the start of `to`.
void convert_dense(Encoder& encoder, const Operand& x, DType dtype, const Operand& to) noexcept;

// The type that elements of `item` bytes are moved as.
std::string_view word_type(std::size_t item) noexcept;

}  // namespace nitinol::metal::kernels
